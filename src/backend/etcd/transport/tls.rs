//! TLS by the options of a store. The files are read at each connect, so that
//! renewed certificates are used without opening anew.

use crate::endpoint::Url;
use crate::error::{Error, Result};
use crate::options::Options;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{ring, verify_tls12_signature, verify_tls13_signature, CryptoProvider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Clone)]
pub struct Tls {
    pub server_name: ServerName<'static>,
    cacert: Option<PathBuf>,
    identity: Option<(PathBuf, PathBuf)>,
    insecure: bool,
}

impl Tls {
    /// Fails where the files cannot be used now.
    pub fn new(url: &Url, options: &Options) -> Result<Self> {
        let name = options.server_name.as_deref();
        let name = name.unwrap_or(url.host.trim_matches(['[', ']'])).to_owned();
        let server_name = ServerName::try_from(name.clone())
            .map_err(|_| Error::Tls(format!("\"{name}\" cannot be the name of a server")))?;
        let tls = Self {
            server_name,
            cacert: options.cacert.clone(),
            identity: options.cert.clone().zip(options.key.clone()),
            insecure: options.insecure,
        };
        tls.config()?;
        Ok(tls)
    }

    pub fn config(&self) -> Result<Arc<ClientConfig>> {
        let wrong = |e: rustls::Error| Error::Tls(e.to_string());
        let provider = Arc::new(ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(wrong)?;
        let config = if self.insecure {
            config.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        } else {
            config.with_root_certificates(self.roots()?)
        };
        let mut config = match &self.identity {
            None => config.with_no_client_auth(),
            Some((cert, key)) => {
                let key = PrivateKeyDer::from_pem_slice(&read(key)?)
                    .map_err(|e| Error::Tls(format!("{}: {e}", key.display())))?;
                config.with_client_auth_cert(certificates(cert)?, key).map_err(wrong)?
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Arc::new(config))
    }

    fn roots(&self) -> Result<RootCertStore> {
        let mut roots = RootCertStore::empty();
        match &self.cacert {
            Some(path) => {
                for certificate in certificates(path)? {
                    let wrong = |e| Error::Tls(format!("{}: {e}", path.display()));
                    roots.add(certificate).map_err(wrong)?;
                }
            }
            None => {
                let native = rustls_native_certs::load_native_certs();
                let (usable, _) = roots.add_parsable_certificates(native.certs);
                if usable == 0 {
                    return Err(Error::Tls("the system has no CA certificates".into()));
                }
            }
        }
        Ok(roots)
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|e| Error::Tls(format!("{}: {e}", path.display())))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let pem = read(path)?;
    let all = CertificateDer::pem_slice_iter(&pem).collect::<std::result::Result<Vec<_>, _>>();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        Ok(_) => Err(Error::Tls(format!("{}: no CERTIFICATE in it", path.display()))),
        Err(e) => Err(Error::Tls(format!("{}: {e}", path.display()))),
    }
}

/// The option `insecure`: encrypts, and believes whoever answers.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
