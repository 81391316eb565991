//! What the configuration says of metrics.

use std::path::Path;

use rapace_host::{DeployError, HostConfig, PluginHost};
use rapace_session::CallOptions;

use super::plugin::ECHO;
use super::spec;

fn config(metrics: &str) -> HostConfig {
    let text = format!("name = 'test-host'\nversion = '1.0.0'\ndiscovery.enabled = false\n[metrics]\n{metrics}");
    HostConfig::from_toml(&text, Path::new("host.toml"), |_| None).unwrap()
}

#[test]
fn calls_are_counted_unless_the_configuration_says_otherwise() {
    for (metrics, counted) in [("", 1), ("calls = false", 0)] {
        let config = config(metrics);
        let host = PluginHost::builder(config.session()).deploy(config).unwrap();
        let plugin = host.load(spec("configured")).unwrap();
        plugin.call(ECHO, b"any", &CallOptions::new()).unwrap();
        let echo = plugin.stats().methods.iter().filter(|method| method.id == Some(ECHO)).count();
        assert_eq!(echo, counted, "{metrics:?}");
    }
}

#[cfg(feature = "prometheus")]
#[test]
fn metrics_are_to_be_had_where_the_configuration_says() {
    let config = config("listen = '[::1]:0'");
    // A machine may be without that.
    let config =
        if std::net::TcpListener::bind("[::1]:0").is_ok() { config } else { self::config("listen = '127.0.0.1:0'") };
    let host = PluginHost::builder(config.session()).deploy(config).unwrap();
    let address = host.metrics_address().unwrap();
    host.load(spec("scraped")).unwrap();
    let scraped = super::scraping::scrape(address);
    assert_eq!(scraped.value("rapace_plugin_starts_total", &[("plugin", "scraped")]), 1.0);
    let again = self::config(&format!("listen = '{address}'"));
    let taken = PluginHost::builder(again.session()).deploy(again);
    assert!(matches!(taken, Err(DeployError::Metrics { listen, .. }) if listen == address));
}

#[cfg(not(feature = "prometheus"))]
#[test]
fn a_host_that_cannot_answer_prometheus_says_so() {
    let config = config("listen = '127.0.0.1:0'");
    let error = PluginHost::builder(config.session()).deploy(config).err().unwrap();
    assert!(matches!(&error, DeployError::Metrics { .. }) && error.to_string().contains("prometheus"), "{error}");
}
