//! The flags of catalogs, and what they come to.
//!
//! Never: reads a file or calls a server.

use std::path::PathBuf;
use std::time::Duration;

use super::ConfigError;
use super::spelling::{self, Settings};
use super::values::{self, BOOL, Boolean, KubernetesUrl, positive_duration, text, whole};
use crate::catalog::config::{
    CatalogsConfig, ConsulConfig, EurekaConfig, KubernetesConfig, KubernetesServer, SwarmConfig, SwarmEngine,
};
use crate::model::{Namespace, Secret};
use crate::outbound::BaseUrl;

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Catalogs", rename_all = "snake_case")]
pub(super) struct CatalogArgs {
    /// API server of a Kubernetes cluster whose services are shown too, or `in-cluster` for everything from the
    /// pod's service account; unset: none
    #[arg(long, value_name = "URL", value_parser = values::kubernetes_url)]
    pub(super) k8s_url: Option<KubernetesUrl>,
    /// Bearer token for --k8s_url
    #[arg(long, value_name = "SECRET", value_parser = values::secret)]
    pub(super) k8s_token: Option<Secret>,
    /// File with the bearer token for --k8s_url; read again when it changes
    #[arg(long, value_name = "FILE")]
    pub(super) k8s_token_file: Option<PathBuf>,
    /// Authorities (PEM) that sign the certificate of --k8s_url; unset: those of the system
    #[arg(long, value_name = "FILE")]
    pub(super) k8s_ca_file: Option<PathBuf>,
    /// Take any certificate from --k8s_url
    #[arg(long, value_name = BOOL, default_value = "false")]
    pub(super) k8s_insecure: Boolean,
    /// Kubernetes namespaces that are followed, of those that somebody uses: patterns in which `*` stands for
    /// anything and `!` in front leaves out; repeatable; unset: all but `kube-*`
    #[arg(long, value_name = "PATTERN", value_parser = text, value_delimiter = ',')]
    pub(super) k8s_namespaces: Vec<String>,
    /// Eureka server whose instances are shown too; repeatable, the next is asked when one fails; unset: none
    #[arg(long, value_name = "URL", value_parser = values::base_url, value_delimiter = ',')]
    pub(super) eureka_url: Vec<BaseUrl>,
    /// Take any certificate from --eureka_url
    #[arg(long, value_name = BOOL, default_value = "false")]
    pub(super) eureka_insecure: Boolean,
    /// Time between two looks at --eureka_url
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = positive_duration)]
    pub(super) eureka_poll: Duration,
    /// Folder of files `NAMESPACE.json` (or `.conf`) whose instances are shown too; unset: none
    #[arg(long, value_name = "DIRECTORY")]
    pub(super) fs_catalog: Option<PathBuf>,
    /// Consul agent whose services are shown too; unset: none
    #[arg(long, value_name = "URL", value_parser = values::base_url)]
    pub(super) consul_url: Option<BaseUrl>,
    /// ACL token for --consul_url
    #[arg(long, value_name = "SECRET", value_parser = values::secret)]
    pub(super) consul_token: Option<Secret>,
    /// Datacenter that --consul_url is asked for; unset: the agent's own
    #[arg(long, value_name = "NAME", value_parser = text)]
    pub(super) consul_datacenter: Option<String>,
    /// Docker engine of a Swarm manager whose services are shown too: `unix:///var/run/docker.sock` or
    /// `tcp://host:port`; unset: none
    #[arg(long, value_name = "URL", value_parser = values::swarm_engine)]
    pub(super) swarm_url: Option<SwarmEngine>,
    /// Swarm network whose addresses are shown; unset: published ports
    #[arg(long, value_name = "NAME", value_parser = text)]
    pub(super) swarm_network: Option<String>,
    /// Authorities (PEM) that sign the certificate of --swarm_url
    #[arg(long, value_name = "FILE")]
    pub(super) swarm_ca_file: Option<PathBuf>,
    /// Client certificate (PEM) for --swarm_url
    #[arg(long, value_name = "FILE")]
    pub(super) swarm_cert: Option<PathBuf>,
    /// Private key of --swarm_cert (PEM)
    #[arg(long, value_name = "FILE")]
    pub(super) swarm_key: Option<PathBuf>,
    /// Namespace that catalogs fill which know only one world: Consul and Swarm (for Eureka: --eureka_namespace)
    #[arg(long, value_name = "NAME", default_value = "default", value_parser = values::namespace)]
    pub(super) catalog_namespace: Namespace,
    /// Most instances of one catalog
    #[arg(long, value_name = "NUMBER", default_value = "100000", value_parser = whole(1_usize, 10_000_000))]
    pub(super) catalog_max_instances: usize,
    /// Most Kubernetes namespaces that are followed at once
    #[arg(long, value_name = "NUMBER", default_value = "256", value_parser = whole(1_usize, 100_000))]
    pub(super) catalog_max_namespaces: usize,
}

/// The catalogs that these flags ask for; `eureka_namespace` is where those of Eureka belong.
pub(super) fn catalogs_config(
    args: CatalogArgs,
    eureka_namespace: &Namespace,
    settings: &Settings,
    warnings: &mut Vec<String>,
) -> Result<CatalogsConfig, ConfigError> {
    warn_of_lonely(&args, settings, warnings);
    if args.k8s_token.is_some() && args.k8s_token_file.is_some() {
        warnings.push("--k8s_token and --k8s_token_file are both given; the file counts".to_owned());
    }
    for (flag, is_insecure) in
        [("k8s_insecure", args.k8s_insecure), ("eureka_insecure", args.eureka_insecure)]
    {
        if is_insecure {
            warnings.push(format!(
                "{} takes any certificate: whoever is on the way can pose as that server",
                settings.name(flag)
            ));
        }
    }
    let text = |text: String| text.into_boxed_str();
    let server = match args.k8s_url {
        None => None,
        Some(KubernetesUrl::At(url)) => Some(KubernetesServer::At(url)),
        Some(KubernetesUrl::InCluster) => Some(in_cluster(settings)?),
    };
    let kubernetes = server.map(|server| KubernetesConfig {
        server,
        token: args.k8s_token,
        token_file: args.k8s_token_file,
        ca_file: args.k8s_ca_file,
        is_insecure: args.k8s_insecure,
        namespaces: args.k8s_namespaces.into_iter().map(text).collect(),
        max_namespaces: args.catalog_max_namespaces,
    });
    let eureka = (!args.eureka_url.is_empty()).then(|| EurekaConfig {
        urls: args.eureka_url,
        is_insecure: args.eureka_insecure,
        namespace: eureka_namespace.clone(),
        poll: args.eureka_poll,
    });
    let consul = args.consul_url.map(|url| ConsulConfig {
        url,
        token: args.consul_token,
        datacenter: args.consul_datacenter.map(text),
        namespace: args.catalog_namespace.clone(),
    });
    let swarm = match args.swarm_url {
        None => None,
        Some(engine) => {
            let files = (args.swarm_ca_file, args.swarm_cert, args.swarm_key);
            let engine = with_tls(engine, files, settings)?;
            Some(SwarmConfig {
                engine,
                network: args.swarm_network.map(text),
                namespace: args.catalog_namespace,
            })
        }
    };
    Ok(CatalogsConfig {
        kubernetes,
        eureka,
        filesystem: args.fs_catalog,
        consul,
        swarm,
        max_instances: args.catalog_max_instances,
    })
}

/// The API server of the cluster that the process runs in, as Kubernetes tells its pods.
fn in_cluster(settings: &Settings) -> Result<KubernetesServer, ConfigError> {
    let [host, port] = spelling::KUBERNETES_VARIABLES.map(|name| settings.surrounding(name));
    let url = host.zip(port).and_then(|(host, port)| {
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        format!("https://{host}:{port}/").parse().ok()
    });
    url.map(KubernetesServer::InCluster).ok_or_else(|| {
        ConfigError::Contradiction(format!(
            "{} is in-cluster, but the variables {} do not say where; outside of a pod give a URL",
            settings.name("k8s_url"),
            spelling::KUBERNETES_VARIABLES.join(" and ")
        ))
    })
}

/// A flag about a catalog that is not there does nothing.
fn warn_of_lonely(args: &CatalogArgs, settings: &Settings, warnings: &mut Vec<String>) {
    let (k8s, eureka) = (args.k8s_url.is_none(), args.eureka_url.is_empty());
    let (consul, swarm) = (args.consul_url.is_none(), args.swarm_url.is_none());
    let lonely = [
        (k8s, "k8s_url", args.k8s_token.is_some(), "k8s_token"),
        (k8s, "k8s_url", args.k8s_token_file.is_some(), "k8s_token_file"),
        (k8s, "k8s_url", args.k8s_ca_file.is_some(), "k8s_ca_file"),
        (k8s, "k8s_url", args.k8s_insecure, "k8s_insecure"),
        (k8s, "k8s_url", !args.k8s_namespaces.is_empty(), "k8s_namespaces"),
        (eureka, "eureka_url", args.eureka_insecure, "eureka_insecure"),
        (consul, "consul_url", args.consul_token.is_some(), "consul_token"),
        (consul, "consul_url", args.consul_datacenter.is_some(), "consul_datacenter"),
        (swarm, "swarm_url", args.swarm_network.is_some(), "swarm_network"),
        (swarm, "swarm_url", args.swarm_ca_file.is_some(), "swarm_ca_file"),
        (swarm, "swarm_url", args.swarm_cert.is_some(), "swarm_cert"),
        (swarm, "swarm_url", args.swarm_key.is_some(), "swarm_key"),
    ];
    for (is_off, lacking, is_given, given) in lonely {
        if is_off && is_given {
            warnings.push(format!("{} does nothing without --{lacking}", settings.name(given)));
        }
    }
}

/// The engine with TLS when files for that are given: all three of them.
fn with_tls(
    engine: SwarmEngine,
    files: (Option<PathBuf>, Option<PathBuf>, Option<PathBuf>),
    settings: &Settings,
) -> Result<SwarmEngine, ConfigError> {
    match (engine, files) {
        (engine, (None, None, None)) => Ok(engine),
        (SwarmEngine::Tcp(address), (Some(ca_file), Some(cert_file), Some(key_file))) => {
            Ok(SwarmEngine::Tls { address, ca_file, cert_file, key_file })
        }
        _ => Err(ConfigError::Contradiction(format!(
            "{} by TLS wants tcp://host:port and all of --swarm_ca_file, --swarm_cert and --swarm_key",
            settings.name("swarm_url")
        ))),
    }
}
