//! A connection as etcd-client takes it: a service from HTTP request to response.

use super::call::CallError;
use super::connection::{Connection, OpenStream};
use bytes::Bytes;
use h2::{RecvStream, SendStream};
use http_body::{Body as _, Frame};
use std::future::Future;
use std::pin::{pin, Pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use tonic::body::Body;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Service};

pub fn channel(connection: Arc<Connection>) -> etcd_client::Channel {
    etcd_client::Channel::Custom(BoxCloneSyncService::new(OverConnection(connection)))
}

#[derive(Clone)]
struct OverConnection(Arc<Connection>);

impl Service<http::Request<Body>> for OverConnection {
    type Response = http::Response<Body>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let (mut head, body) = request.into_parts();
        self.0.address(&mut head);
        // HTTP/2 has them in the URI, and would send them twice.
        head.extensions.clear();
        let sent = self.0.requests().send_request(http::Request::from_parts(head, ()), false);
        let open = OpenStream::on(&self.0);
        Box::pin(async move {
            let (response, stream) = sent.map_err(|e| CallError::NotSeen(e.to_string()))?;
            tokio::spawn(send(body, stream));
            let response = response.await.map_err(|e| CallError::of(&e))?;
            Ok(response.map(|stream| Body::new(Received { stream, _open: open })))
        })
    }
}

/// Passes a request's messages on, until either side has enough.
async fn send(body: Body, mut stream: SendStream<Bytes>) {
    let mut body = pin!(body);
    loop {
        let frame = tokio::select! {
            biased;
            _ = std::future::poll_fn(|cx| stream.poll_reset(cx)) => return,
            frame = std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)) => frame,
        };
        let sent = match frame {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => stream.send_data(data, body.is_end_stream()),
                Err(_) => Ok(()),
            },
            Some(Err(_)) => return stream.send_reset(h2::Reason::CANCEL),
            None => {
                let _ = stream.send_data(Bytes::new(), true);
                return;
            }
        };
        if sent.is_err() || body.is_end_stream() {
            return;
        }
    }
}

/// A response's body; what was taken is given back to the windows at once.
struct Received {
    stream: RecvStream,
    _open: OpenStream,
}

impl http_body::Body for Received {
    type Data = Bytes;
    type Error = CallError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CallError>>> {
        let stream = &mut self.stream;
        match stream.poll_data(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(Ok(data))) => {
                let _ = stream.flow_control().release_capacity(data.len());
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            Poll::Ready(Some(Err(e))) => Poll::Ready(Some(Err(CallError::of(&e)))),
            Poll::Ready(None) => match stream.poll_trailers(cx) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Ok(trailers)) => Poll::Ready(trailers.map(Frame::trailers).map(Ok)),
                Poll::Ready(Err(e)) => Poll::Ready(Some(Err(CallError::of(&e)))),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }
}
