//! The head of a request.

use super::token::Token;
use crate::endpoint::Url;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, Request, Uri, Version};
use std::sync::Arc;

/// etcd's word for it.
const HAS_LEADER: &str = "hasleader";

/// What is the same in all requests to one endpoint.
pub struct Address {
    scheme: Scheme,
    authority: Option<Authority>,
    headers: HeaderMap,
    token: Option<Arc<Token>>,
}

impl Address {
    pub fn new(url: &Url, token: Option<Arc<Token>>) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/grpc"));
        headers.insert("te", HeaderValue::from_static("trailers"));
        headers.insert(HAS_LEADER, HeaderValue::from_static("true"));
        Self {
            scheme: if url.tls { Scheme::HTTPS } else { Scheme::HTTP },
            authority: format!("{}:{}", url.host, url.port).parse().ok(),
            headers,
            token,
        }
    }

    pub fn uri(&self, path: Option<PathAndQuery>) -> Uri {
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = self.authority.clone();
        parts.path_and_query = path;
        Uri::from_parts(parts).unwrap_or_default()
    }

    /// Shows who asks, where that is known.
    pub fn sign(&self, method: &str, head: &mut HeaderMap) {
        if let Some(token) = &self.token {
            token.sign(method, head);
        }
    }

    /// `leader`: to be refused by a member that has none.
    pub fn request(&self, method: &'static str, leader: bool) -> Request<()> {
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = self.uri(Some(PathAndQuery::from_static(method)));
        *request.headers_mut() = self.headers.clone();
        if !leader {
            request.headers_mut().remove(HAS_LEADER);
        }
        self.sign(method, request.headers_mut());
        request
    }
}
