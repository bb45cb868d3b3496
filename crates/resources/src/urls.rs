//! Where an InferenceService answers.

use crate::kserve::{InferenceService, IngressConfig};
use crate::meta::{Metadata, Object};

const VISIBILITY: &str = "networking.knative.dev/visibility";

/// Where an InferenceService answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelUrls {
    /// Hosts for callers from outside; empty when it is cluster-local.
    pub external_hosts: Vec<String>,
    /// `host/path` for callers from outside, with path-based routing.
    pub external_path: Option<(String, String)>,
    /// Host for workloads.
    pub local_host: String,
}

/// Where an InferenceService answers.
///
/// # Errors
/// The template that cannot be evaluated.
pub fn urls(
    config: &IngressConfig,
    service: &Object<InferenceService>,
) -> Result<ModelUrls, String> {
    let (mut name, namespace) = (service.meta.name.clone(), &service.meta.namespace);
    if config.disable_istio_virtual_host {
        // What requests would be sent on to answers itself.
        let front = match service.spec.transformer {
            Some(_) => "transformer",
            None => "predictor",
        };
        name = format!("{name}-{front}");
    }
    let name = name.as_str();
    let mut urls = ModelUrls {
        local_host: format!("{name}.{namespace}.svc.cluster.local"),
        ..ModelUrls::default()
    };
    if is_cluster_local(&service.meta) {
        return Ok(urls);
    }
    let domains = std::iter::once(&config.ingress_domain).chain(&config.additional_ingress_domains);
    for domain in domains {
        urls.external_hosts
            .push(evaluate(&config.domain_template, name, namespace, domain)?);
    }
    if !config.path_template.is_empty() {
        let path = evaluate(
            &config.path_template,
            name,
            namespace,
            &config.ingress_domain,
        )?;
        let path = path.strip_suffix('/').unwrap_or(&path).to_owned();
        urls.external_path = Some((config.ingress_domain.clone(), path));
    }
    Ok(urls)
}

pub(crate) fn is_cluster_local(meta: &Metadata) -> bool {
    let visibility = meta.labels.get(VISIBILITY);
    visibility.is_some_and(|v| v == "cluster-local")
}

/// The Go templates of `inferenceservice-config`: three fields, no functions.
pub(crate) fn evaluate(
    template: &str,
    name: &str,
    namespace: &str,
    domain: &str,
) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        out.push_str(before);
        let Some((mut action, mut after)) = after.split_once("}}") else {
            return Err(format!(
                "template `{template}`: expected `}}}}` after `{{{{`"
            ));
        };
        // `{{- ` and ` -}}` trim the text beside them (text/template).
        if let Some(trimmed) = action.strip_prefix("- ") {
            out.truncate(out.trim_end().len());
            action = trimmed;
        }
        if let Some(trimmed) = action.strip_suffix(" -") {
            after = after.trim_start();
            action = trimmed;
        }
        out.push_str(match action.trim() {
            ".Name" => name,
            ".Namespace" => namespace,
            ".IngressDomain" => domain,
            other => {
                return Err(format!(
                    "template `{template}`: expected `.Name`, `.Namespace` or `.IngressDomain`, found `{other}`"
                ));
            }
        });
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::evaluate;

    fn check(template: &str, expected: Result<&str, &str>) {
        let found = evaluate(template, "iris", "ml", "example.com");
        match expected {
            Ok(text) => assert_eq!(found.as_deref(), Ok(text), "{template}"),
            Err(part) => {
                let message = found.unwrap_err();
                assert!(message.contains(part), "{message}");
                assert!(message.contains(&format!("`{template}`")), "{message}");
            }
        }
    }

    #[test]
    fn templates() {
        check(
            "{{ .Name }}.{{ .Namespace }}.{{ .IngressDomain }}",
            Ok("iris.ml.example.com"),
        );
        check("{{.Name}}-{{   .Namespace}}", Ok("iris-ml"));
        check("a {{- .Name -}} b", Ok("airisb"));
        check("{{-.Name}}", Err("found `-.Name`"));
        check("a {{- .Name }} b", Ok("airis b"));
        check("a {{ .Name -}} b", Ok("a irisb"));
        check("no action", Ok("no action"));
        check("{{ .Name | upper }}", Err("found `.Name | upper`"));
        check("{{ .Labels.team }}", Err("found `.Labels.team`"));
        check("{{ .Name", Err("expected `}}`"));
    }
}
