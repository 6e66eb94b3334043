//! What the fuzz targets in `fuzz/` drive. Each function takes any bytes; a panic is a
//! finding. The corpora are run as tests too.

pub use crate::backend::etcd::fuzz::{answers, srv, stream};

use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::fault;
use crate::options::Options;
use std::ops::Range;
use std::time::Duration;

/// The exported functions and their types.
pub mod c {
    pub use crate::ffi::common::*;
    pub use crate::ffi::dispatch::*;
    pub use crate::ffi::event_watch::*;
    pub use crate::ffi::kv::*;
    pub use crate::ffi::lease::*;
    pub use crate::ffi::lock::*;
    pub use crate::ffi::mem_fault::*;
    pub use crate::ffi::metrics::*;
    pub use crate::ffi::mirror::*;
    pub use crate::ffi::named_lock::*;
    pub use crate::ffi::opts::*;
    pub use crate::ffi::request::*;
    pub use crate::ffi::result::*;
    pub use crate::ffi::state::*;
    pub use crate::ffi::status::*;
    pub use crate::ffi::store::*;
    pub use crate::ffi::temp_key::*;
    pub use crate::ffi::txn::*;
    pub use crate::ffi::types::*;
    pub use crate::ffi::watch::*;
}

/// A text as an endpoint, as options and as faults.
pub fn options(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match fault::parse(text) {
        Ok(faults) => assert!(!faults.is_empty()),
        Err(error) => assert!(matches!(error, Error::Invalid(_)), "{error:?}"),
    }
    match Options::parse(text) {
        Ok(options) => check_options(text, &options),
        Err(error) => check_error(text, &error),
    }
    // What the environment says is not this text's doing.
    if text == "env:" {
        return;
    }
    match Endpoint::parse(text) {
        Ok(Endpoint::Mem(name)) => assert_eq!(text, format!("mem:{name}")),
        Ok(Endpoint::Etcd(urls)) => {
            let written: Vec<String> = urls.iter().map(ToString::to_string).collect();
            assert!(!urls.is_empty() && urls.iter().all(|url| url.port > 0));
            let written = written.join(",");
            assert!(!written.contains('@') && !written.contains(char::is_whitespace));
            assert_eq!(Endpoint::parse(&written), Ok(Endpoint::Etcd(urls)), "{written}");
        }
        Ok(Endpoint::Srv(domain)) => {
            let written = domain.to_string();
            assert!(text == format!("srv:{written}") || text == format!("srv:{written}."));
            assert!(written.len() <= 231 && !written.contains(['@', ':', '/', ' ', ',']));
        }
        Err(error) => {
            assert!(matches!(error, Error::Invalid(_)), "{error:?}");
            // Credentials in a URL are never repeated.
            let secret = text.split(',').find_map(|url| url.split_once("://")?.1.split_once('@'));
            if let Some((secret, rest)) = secret {
                // Both are parts of the text.
                let end = rest.as_ptr() as usize - text.as_ptr() as usize - 1;
                assert!(
                    !repeats(&error, text, end - secret.len()..end, Endpoint::parse),
                    "{error}"
                );
            }
        }
    }
}

fn check_options(text: &str, options: &Options) {
    let hour = Duration::from_secs(3600);
    let year = 365 * 24 * hour;
    let second = Duration::from_secs(1);
    assert!((Duration::from_millis(1)..=hour).contains(&options.timeout));
    assert!(options.wait <= year && options.close_timeout <= hour);
    assert!((6 * second..=hour).contains(&options.keepalive));
    assert!((1024..=1 << 30).contains(&options.max_request));
    for ttl in [options.temp_ttl, options.lock_ttl] {
        assert!((2 * second..=year).contains(&ttl) && ttl.subsec_nanos() == 0);
    }
    assert!(!options.lock.is_empty());
    assert!(options.cert.is_some() == options.key.is_some());
    assert!(!options.insecure || options.cacert.is_none());
    // Separators change nothing.
    let again = Options::parse(&format!(";{text} , ")).map(|options| format!("{options:?}"));
    assert_eq!(again, Ok(format!("{options:?}")));
}

fn check_error(text: &str, error: &Error) {
    assert!(matches!(error, Error::Invalid(_)), "{error:?}");
    let begin = text.find("password=").map(|at| at + "password=".len());
    if let Some(begin) = begin.filter(|begin| !text[*begin..].contains('=')) {
        assert!(!repeats(error, text, begin..text.len(), Options::parse), "{error}");
    }
}

/// Whether the error has this part of a text, which it would not have without it.
fn repeats<T>(
    error: &Error,
    text: &str,
    part: Range<usize>,
    parse: impl Fn(&str) -> Result<T, Error>,
) -> bool {
    let secret = &text[part.clone()];
    let has_it = |error: Error| error.to_string().contains(secret);
    let without = [&text[..part.start], &text[part.end..]].concat();
    secret.len() > 12 && has_it(error.clone()) && !parse(&without).is_err_and(has_it)
}

#[cfg(test)]
mod tests {
    fn run(target: &str, one: fn(&[u8])) {
        let corpus = format!("{}/fuzz/corpus/{target}", env!("CARGO_MANIFEST_DIR"));
        let mut count = 0;
        for entry in std::fs::read_dir(corpus).expect("a corpus") {
            let path = entry.expect("an entry").path();
            let data = std::fs::read(&path).expect("a file");
            println!("{}", path.display()); // shown if it fails
            one(&data);
            count += 1;
        }
        assert!(count > 0);
    }

    #[test]
    fn the_corpus_of_options_has_no_finding() {
        run("options", super::options);
    }

    #[test]
    fn the_corpus_of_answers_has_no_finding() {
        run("answers", super::answers);
    }

    #[test]
    fn the_corpus_of_srv_has_no_finding() {
        run("srv", super::srv);
    }

    #[test]
    fn the_corpus_of_streams_has_no_finding() {
        run("stream", super::stream);
    }
}
