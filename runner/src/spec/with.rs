//! `with:` against a plugin's JSON Schema: messages and places for people instead of a validator's prose.

use jsonschema::{
    JsonType, ValidationError,
    error::{TypeKind, ValidationErrorKind as Kind},
};
use serde_json::Value;

use super::{finding::Finding, node, pipeline::Step, suggest::did_you_mean, template};

/// Says what is wrong with a step's configuration; `with` is the step's own, or better what
/// [`evaluate`](super::evaluate) made of it. A string that still holds an expression stands for any value.
pub fn validate_with(step: &Step, with: &Value, schema: &Value) -> Vec<Finding> {
    let validator = match jsonschema::options().offline().build(schema) {
        Ok(validator) => validator,
        Err(error) => {
            let message = format!("plugin `{}` has a broken config schema: {error}", step.uses);
            return vec![Finding::error(&step.source.uses, message)];
        }
    };
    let mut explainer = Explainer { step, schema, findings: Vec::new() };
    for error in validator.iter_errors(with) {
        explainer.explain(&error);
    }
    explainer.findings.sort_by(|a, b| a.place.cmp(&b.place));
    explainer.findings
}

struct Explainer<'s> {
    step: &'s Step,
    schema: &'s Value,
    findings: Vec<Finding>,
}

impl Explainer<'_> {
    fn explain(&mut self, error: &ValidationError<'_>) {
        let instance: &Value = error.instance();
        let pointer = error.instance_path().as_str();
        match error.kind() {
            Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
                self.unknown_keys(error, unexpected);
            }
            Kind::Required { property } => {
                let key = property.as_str().unwrap_or_default();
                let finding =
                    Finding::error(&self.step.key_span(pointer), format!("{} has no `{key}`", name(pointer)));
                self.findings.push(finding);
            }
            _ if is_open(instance) => {}
            Kind::AnyOf { context } | Kind::OneOfNotValid { context } => self.branches(error, context),
            Kind::Type { kind } => {
                let types: Vec<JsonType> = match kind {
                    TypeKind::Single(one) => vec![*one],
                    TypeKind::Multiple(set) => set.iter().collect(),
                };
                self.wrong_type(pointer, instance, &types);
            }
            Kind::Enum { options } => {
                self.wrong_choice(pointer, instance, options.as_array().map_or(&[], Vec::as_slice));
            }
            Kind::Constant { expected_value } => {
                self.wrong_choice(pointer, instance, std::slice::from_ref(&**expected_value));
            }
            Kind::FalseSchema => {
                let finding =
                    Finding::error(&self.step.key_span(pointer), format!("{} cannot be set", name(pointer)));
                self.findings.push(finding);
            }
            Kind::Minimum { limit } => self.wrong(pointer, instance, &format!("at least {limit}")),
            Kind::ExclusiveMinimum { limit } => self.wrong(pointer, instance, &format!("more than {limit}")),
            Kind::Maximum { limit } => self.wrong(pointer, instance, &format!("at most {limit}")),
            Kind::ExclusiveMaximum { limit } => self.wrong(pointer, instance, &format!("less than {limit}")),
            Kind::Pattern { pattern } => {
                self.wrong(pointer, instance, &format!("text that matches `{pattern}`"));
            }
            Kind::MinLength { limit: 1 } => self.wrong(pointer, instance, "text that is not empty"),
            _ => {
                let message = format!("{}: {}", name(pointer), error.masked_with("it"));
                self.findings.push(Finding::error(&self.step.span_of(pointer), message));
            }
        }
    }

    fn unknown_keys(&mut self, error: &ValidationError<'_>, unexpected: &[String]) {
        let at = error.schema_path().as_str();
        let parent = at.rsplit_once('/').map_or("", |(parent, _)| parent);
        let properties = self.schema.pointer(parent).and_then(|schema| schema["properties"].as_object());
        let known: Vec<_> = properties.into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        for key in unexpected {
            let pointer = format!("{}/{}", error.instance_path().as_str(), escape(key));
            let finding = Finding::error(&self.step.key_span(&pointer), format!("unknown key `{key}`"));
            self.findings.push(finding.hint(did_you_mean(key, known.iter().copied())));
        }
    }

    /// None of several forms fits: the one that was most likely meant is explained.
    fn branches(&mut self, error: &ValidationError<'_>, branches: &[Vec<ValidationError<'static>>]) {
        let pointer = error.instance_path().as_str();
        let here = |error: &ValidationError<'_>| error.instance_path().as_str() == pointer;
        let mut types = Vec::new();
        let mut choices = Vec::new();
        let mut meant: Vec<&Vec<ValidationError<'static>>> = Vec::new();
        for branch in branches {
            match branch.iter().find(|error| here(error)).map(|error| error.kind()) {
                Some(Kind::Type { kind: TypeKind::Single(one) }) => types.push(*one),
                Some(Kind::Type { kind: TypeKind::Multiple(set) }) => types.extend(set.iter()),
                Some(Kind::Constant { expected_value }) => choices.push((**expected_value).clone()),
                Some(Kind::Enum { options }) => {
                    choices.extend(options.as_array().cloned().unwrap_or_default())
                }
                _ => meant.push(branch),
            }
        }
        // The forms of a tagged enum differ in a constant: the one whose constant fits was meant.
        let tag = |branch: &&Vec<ValidationError<'static>>| {
            branch.iter().find_map(|error| match error.kind() {
                Kind::Constant { expected_value } => {
                    Some((error.instance_path().clone(), expected_value.clone()))
                }
                _ => None,
            })
        };
        let fitting: Vec<_> = meant.iter().filter(|branch| tag(branch).is_none()).copied().collect();
        if let (true, Some((at, _))) = (fitting.is_empty(), meant.first().and_then(tag)) {
            let tags: Vec<_> = meant.iter().filter_map(tag).map(|(_, value)| (*value).clone()).collect();
            let got = meant[0].iter().find(|error| *error.instance_path() == at);
            if let Some(got) = got.map(|error| error.instance().clone().into_owned()) {
                return self.wrong_choice(at.as_str(), &got, &tags);
            }
        }
        let best = if fitting.is_empty() { meant } else { fitting };
        match best.iter().min_by_key(|branch| branch.len()) {
            Some(branch) => branch.iter().for_each(|error| self.explain(error)),
            None if !choices.is_empty() => self.wrong_choice(pointer, error.instance(), &choices),
            None => self.wrong_type(pointer, error.instance(), &types),
        }
    }

    fn wrong_type(&mut self, pointer: &str, got: &Value, types: &[JsonType]) {
        let mut names: Vec<_> =
            types.iter().filter(|one| **one != JsonType::Null).map(|one| type_name(*one)).collect();
        names.dedup();
        let hint = match got {
            Value::Number(_) | Value::Bool(_) if types.contains(&JsonType::String) => {
                let computed = self.step.with.pointer(pointer).is_some_and(is_open);
                Some(match computed {
                    true => "quote it where it is set, or write `string(...)`".to_owned(),
                    // As it is written: 1.20 is the number 1.2.
                    false => format!("quote it: \"{}\"", self.step.span_of(pointer).text()),
                })
            }
            Value::String(text) if types.contains(&JsonType::Boolean) => match text.to_lowercase().as_str() {
                "yes" | "on" | "true" | "y" => Some("write `true`".to_owned()),
                "no" | "off" | "false" | "n" => Some("write `false`".to_owned()),
                _ => None,
            },
            Value::String(text)
                if types.iter().any(|one| matches!(one, JsonType::Integer | JsonType::Number))
                    && text.parse::<f64>().is_ok() =>
            {
                Some(format!("write it without quotes: {text}"))
            }
            _ => None,
        };
        self.wrong_with_hint(pointer, got, &names.join(" or "), hint);
    }

    fn wrong_choice(&mut self, pointer: &str, got: &Value, choices: &[Value]) {
        let texts: Vec<_> = choices
            .iter()
            .map(|choice| choice.as_str().map_or_else(|| choice.to_string(), str::to_owned))
            .collect();
        let expected = match texts.as_slice() {
            [one] => format!("`{one}`"),
            _ => format!("one of {}", texts.join(", ")),
        };
        let closest =
            got.as_str().and_then(|got| super::suggest::closest(got, texts.iter().map(String::as_str)));
        self.wrong_with_hint(pointer, got, &expected, closest.map(|name| format!("did you mean `{name}`?")));
    }

    fn wrong(&mut self, pointer: &str, got: &Value, expected: &str) {
        self.wrong_with_hint(pointer, got, expected, None);
    }

    fn wrong_with_hint(&mut self, pointer: &str, got: &Value, expected: &str, hint: Option<String>) {
        let message = format!("{} must be {expected}, not {}", name(pointer), node::describe(got));
        self.findings.push(Finding::error(&self.step.span_of(pointer), message).hint(hint));
    }
}

/// Whether something in a value is not known yet.
fn is_open(value: &Value) -> bool {
    match value {
        Value::String(text) => template::has_expression(text),
        Value::Array(items) => items.iter().any(is_open),
        Value::Object(map) => map.values().any(is_open),
        _ => false,
    }
}

/// What people call the value at a pointer: its key, or the item of a list.
fn name(pointer: &str) -> String {
    let tokens: Vec<_> =
        pointer.split('/').skip(1).map(|token| token.replace("~1", "/").replace("~0", "~")).collect();
    match tokens.as_slice() {
        [] => "`with`".to_owned(),
        [.., list, index] if index.chars().all(|c| c.is_ascii_digit()) => format!("`{list}[{index}]`"),
        [.., key] => format!("`{key}`"),
    }
}

fn type_name(one: JsonType) -> &'static str {
    match one {
        JsonType::Null => "nothing",
        JsonType::Boolean => "true or false",
        JsonType::Integer => "a whole number",
        JsonType::Number => "a number",
        JsonType::String => "text",
        JsonType::Array => "a list",
        JsonType::Object => "a map",
    }
}

fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}
