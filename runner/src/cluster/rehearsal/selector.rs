//! Label selectors in Kubernetes syntax: `app=istiod,tier!=web,env in (a,b),!canary`.

use crate::cluster::Object;

/// What the labels of an object must be like; an empty one takes everything.
#[derive(Debug, Clone, Default)]
pub(super) struct Selector(Vec<Requirement>);

#[derive(Debug, Clone)]
struct Requirement {
    key: String,
    operator: Operator,
}

#[derive(Debug, Clone)]
enum Operator {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Absent,
}

impl Selector {
    /// # Errors
    /// The part that is no requirement, in a sentence for people.
    pub(super) fn parse(text: Option<&str>) -> Result<Self, String> {
        split(text.unwrap_or_default())
            .into_iter()
            .filter(|part| !part.is_empty())
            .map(|part| {
                requirement(part).ok_or_else(|| format!("unable to parse label selector: \"{part}\""))
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Whether an object has such labels.
    pub(super) fn matches(&self, object: &Object) -> bool {
        self.0.iter().all(|Requirement { key, operator }| {
            let label = object.label(key);
            match operator {
                Operator::In(values) => label.is_some_and(|label| values.iter().any(|value| value == label)),
                Operator::NotIn(values) => {
                    label.is_none_or(|label| values.iter().all(|value| value != label))
                }
                Operator::Exists => label.is_some(),
                Operator::Absent => label.is_none(),
            }
        })
    }
}

/// Splits at the commas that stand outside of parentheses.
fn split(text: &str) -> Vec<&str> {
    let mut inside = false;
    text.split(|c| {
        inside = c == '(' || (inside && c != ')');
        c == ',' && !inside
    })
    .map(str::trim)
    .collect()
}

fn requirement(part: &str) -> Option<Requirement> {
    let (key, operator) = if let Some(values) = part.strip_suffix(')') {
        let (head, values) = values.split_once('(')?;
        let (key, word) = head.trim().split_once(char::is_whitespace)?;
        let values = values.split(',').map(|value| value.trim().into()).collect();
        match word.trim() {
            "in" => (key, Operator::In(values)),
            "notin" => (key, Operator::NotIn(values)),
            _ => return None,
        }
    } else if let Some((key, value)) = part.split_once("!=") {
        (key, Operator::NotIn(vec![value.trim().into()]))
    } else if let Some((key, value)) = part.split_once('=') {
        (key, Operator::In(vec![value.trim_start_matches('=').trim().into()]))
    } else if let Some(key) = part.strip_prefix('!') {
        (key, Operator::Absent)
    } else {
        (part, Operator::Exists)
    };
    let key = key.trim();
    let valid = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c));
    valid.then(|| Requirement { key: key.into(), operator })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(selector: &str, expected: bool) {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": "x", "labels": { "app": "istiod", "istio.io/rev": "default" } },
        });
        let pod = Object::new(pod).expect("a pod");
        let selector = Selector::parse(Some(selector)).expect("a selector");
        assert_eq!(selector.matches(&pod), expected, "{selector:?}");
    }

    #[test]
    fn selects_by_equality() {
        check("", true);
        check("app=istiod", true);
        check("app == istiod, istio.io/rev=default", true);
        check("app=kiali", false);
        check("app!=kiali", true);
        check("tier!=web", true);
    }

    #[test]
    fn selects_by_sets_and_existence() {
        check("app in (kiali, istiod),istio.io/rev", true);
        check("app in (kiali)", false);
        check("app notin (kiali,istiod)", false);
        check("app,!tier", true);
        check("!app", false);
    }

    #[test]
    fn says_which_part_is_no_requirement() {
        let error = Selector::parse(Some("app=x,tier within (a)")).expect_err("no selector");
        assert_eq!(error, "unable to parse label selector: \"tier within (a)\"");
    }
}
