//! Certificate and key from PEM files.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::{BindError, TlsFiles};

pub(crate) async fn acceptor(
    section: &'static str,
    files: &TlsFiles,
) -> Result<TlsAcceptor, BindError> {
    let certificate_pem = read(section, "certificate", &files.certificate).await?;
    let chain = CertificateDer::pem_slice_iter(&certificate_pem).collect::<Result<Vec<_>, _>>();
    let chain = match chain {
        Ok(chain) if !chain.is_empty() => chain,
        Ok(_) => {
            return Err(bad_file(section, "certificate", &files.certificate, "no certificate"));
        }
        Err(error) => return Err(bad_file(section, "certificate", &files.certificate, error)),
    };
    let key_pem = read(section, "key", &files.key).await?;
    let key = PrivateKeyDer::from_pem_slice(&key_pem)
        .map_err(|error| bad_file(section, "key", &files.key, error))?;

    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|source| BindError::Tls { section, source })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn read(
    section: &'static str,
    setting: &'static str,
    path: &Path,
) -> Result<Vec<u8>, BindError> {
    tokio::fs::read(path).await.map_err(|source| BindError::TlsFile {
        section,
        setting,
        path: path.to_owned(),
        source,
    })
}

fn bad_file(
    section: &'static str,
    setting: &'static str,
    path: &Path,
    why: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> BindError {
    let source = io::Error::new(io::ErrorKind::InvalidData, why);
    BindError::TlsFile { section, setting, path: path.to_owned(), source }
}
