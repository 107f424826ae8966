//! The graph of steps as an indented list, as Graphviz DOT and as a Mermaid flowchart.

use std::{collections::HashMap, fmt::Write};

use crate::{
    event::StepInfo,
    ids::StepId,
    text::{Style, Tone},
};

/// Steps in an order in which they could run, each indented below the longest chain of steps before it.
pub fn graph_text(steps: &[StepInfo], style: &Style) -> String {
    let depths = depths(steps);
    let mut order: Vec<&StepInfo> = steps.iter().collect();
    order.sort_by_key(|step| depths[&step.id]);
    let name = |step: &StepInfo| format!("{:indent$}{}", "", step.id, indent = 2 * depths[&step.id]);
    let names = order.iter().map(|step| name(step).len()).max().unwrap_or_default();
    let uses = order.iter().map(|step| step.uses.len()).max().unwrap_or_default();
    let mut text = String::new();
    for step in order {
        let needs = match step.needs.is_empty() {
            true => "starts at once".to_owned(),
            false => format!("after {}", joined(&step.needs)),
        };
        let shown = style.paint(Tone::Name, format!("{:names$}", name(step)));
        let head = format!("{shown}  {:uses$}  ", step.uses);
        text.push_str(&style.hang(&head, &needs));
        text.push('\n');
    }
    text
}

/// The graph for Graphviz: `meshrun graph --format dot prod.yaml | dot -Tsvg`.
pub fn dot(steps: &[StepInfo]) -> String {
    let mut text = String::from("digraph pipeline {\n  rankdir=LR;\n  node [shape=box, style=rounded];\n");
    for step in steps {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {} [label={}];", quoted(step.id.as_str()), quoted(&label(step, "\n")));
    }
    for (from, to) in edges(steps) {
        let _ = writeln!(text, "  {} -> {};", quoted(from.as_str()), quoted(to.as_str()));
    }
    text.push_str("}\n");
    text
}

/// The graph for Markdown that renders Mermaid, such as a pull request's description.
pub fn mermaid(steps: &[StepInfo]) -> String {
    // Nodes are numbered, because `end` and other ids are words of the language.
    let number: HashMap<_, _> = steps.iter().enumerate().map(|(index, step)| (&step.id, index)).collect();
    let mut text = String::from("flowchart LR\n");
    for step in steps {
        let label = label(step, "<br>").replace('"', "&quot;");
        let _ = writeln!(text, "  s{}[\"{label}\"]", number[&step.id]);
    }
    for (from, to) in edges(steps) {
        if let (Some(from), Some(to)) = (number.get(from), number.get(to)) {
            let _ = writeln!(text, "  s{from} --> s{to}");
        }
    }
    text
}

fn label(step: &StepInfo, separator: &str) -> String {
    match step.id.as_str() == step.uses {
        true => step.uses.clone(),
        false => format!("{}{separator}{}", step.id, step.uses),
    }
}

fn edges(steps: &[StepInfo]) -> impl Iterator<Item = (&StepId, &StepId)> {
    steps.iter().flat_map(|step| step.needs.iter().map(|need| (need, &step.id)))
}

/// The longest chain of steps before each step. A cycle, which a pipeline cannot have, ends at the step count.
fn depths(steps: &[StepInfo]) -> HashMap<&StepId, usize> {
    let mut depths: HashMap<&StepId, usize> = steps.iter().map(|step| (&step.id, 0)).collect();
    for _ in steps {
        for step in steps {
            let depth =
                step.needs.iter().filter_map(|need| depths.get(need)).max().map_or(0, |depth| depth + 1);
            depths.insert(&step.id, depth.min(steps.len()));
        }
    }
    depths
}

fn joined(ids: &[StepId]) -> String {
    ids.iter().map(StepId::as_str).collect::<Vec<_>>().join(", ")
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn lists_steps_below_what_they_need() {
        insta::assert_snapshot!(graph_text(&samples::steps(), &Style::plain(false)));
    }

    #[test]
    fn draws_dot_and_mermaid() {
        insta::assert_snapshot!(format!("{}\n{}", dot(&samples::steps()), mermaid(&samples::steps())));
    }
}
