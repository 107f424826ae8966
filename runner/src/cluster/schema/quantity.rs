//! Quantities (`500m`, `2Gi`): to the Kubernetes types they are any text, to a server they are not.

use serde_json::Value;

use super::{SchemaError, expected, path::Path};

/// Finds requests and limits of `resources` that are no quantities.
pub(super) fn wrong(value: &Value, path: &Path, errors: &mut Vec<SchemaError>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = path.field(name);
                if name == "resources" {
                    resources(value, &path, errors);
                }
                wrong(value, &path, errors);
            }
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| wrong(item, &path.index(index), errors));
        }
        _ => {}
    }
}

fn resources(value: &Value, path: &Path, errors: &mut Vec<SchemaError>) {
    for list in ["requests", "limits"] {
        for (resource, value) in value.get(list).and_then(Value::as_object).into_iter().flatten() {
            if value.as_str().is_some_and(|text| !is_quantity(text)) {
                let path = path.field(list).field(resource);
                errors.push(SchemaError::new(&path, expected("quantity", value)));
            }
        }
    }
}

/// The grammar of `k8s.io/apimachinery/pkg/api/resource`: a signed number, then a suffix or a decimal exponent.
fn is_quantity(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let suffixes = ["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    number.parse::<f64>().is_ok()
        && (suffixes.contains(&suffix)
            || suffix.strip_prefix(['e', 'E']).is_some_and(|exponent| exponent.parse::<i32>().is_ok()))
}

#[cfg(test)]
mod tests {
    use super::is_quantity;

    #[test]
    fn knows_the_grammar_of_quantities() {
        for right in ["0", "100m", "2Gi", "1.5", "1e3", "-1", "12E", "2E-3", ".5"] {
            assert!(is_quantity(right), "{right}");
        }
        for wrong in ["", "128MB", "2 Gi", "m", "1.2.3", "2gi", "1K"] {
            assert!(!is_quantity(wrong), "{wrong}");
        }
    }
}
