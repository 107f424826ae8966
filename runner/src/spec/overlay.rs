//! One document over another: `include:` files, overlays for environments, and `--set`.

use super::{
    finding::{Finding, Found},
    node::{Entry, Kind, Node},
    path::Segment,
    source::Span,
    suggest::did_you_mean,
};

/// Lays a pipeline document over another one: maps are merged, `null` removes, steps of the same id are merged,
/// new steps go to the end, everything else is replaced.
pub(super) fn pipeline(base: Node, over: Node) -> Node {
    merge(base, over, true)
}

fn merge(base: Node, over: Node, top: bool) -> Node {
    match (base, over) {
        (Node { kind: Kind::Map(mut entries), .. }, Node { kind: Kind::Map(overlay), span }) => {
            for new in overlay {
                let steps = top && new.key == "steps";
                match entries.iter().position(|entry| entry.key == new.key) {
                    Some(at) if new.value.is_null() => {
                        entries.remove(at);
                    }
                    Some(at) => {
                        let old = entries[at].value.clone();
                        let value =
                            if steps { merge_steps(old, new.value) } else { merge(old, new.value, false) };
                        entries[at] = Entry { value, ..new };
                    }
                    // `null` removes, and there is nothing to remove.
                    None if new.value.is_null() => {}
                    None => entries.push(new),
                }
            }
            Node { span, kind: Kind::Map(entries) }
        }
        (_, over) => over,
    }
}

fn merge_steps(base: Node, over: Node) -> Node {
    let (Node { kind: Kind::Seq(mut steps), .. }, Node { kind: Kind::Seq(overlay), span }) =
        (base, over.clone())
    else {
        return over;
    };
    // Two steps of the same id in one file stay two, so that the duplicate is found.
    let known = steps.len();
    for new in overlay {
        let id = new.get("id").and_then(Node::text);
        let old =
            steps[..known].iter_mut().find(|step| id.is_some() && step.get("id").and_then(Node::text) == id);
        match old {
            Some(old) => *old = merge(old.clone(), new, false),
            None => steps.push(new),
        }
    }
    Node { span, kind: Kind::Seq(steps) }
}

/// Puts a value at a path; `null` removes what is there. `at` is the assignment as it was written.
///
/// # Errors
/// Where the path leads through something that is no map or list, or to a step that is not there.
pub(super) fn set(root: &mut Node, path: &[Segment], value: Node, at: &Span) -> Found<()> {
    let mut node = root;
    let Some((last, way)) = path.split_last() else { return Ok(()) };
    let mut steps = false;
    for (depth, segment) in way.iter().enumerate() {
        node = if steps { step(node, segment, at)? } else { child(node, segment, at)? };
        steps = depth == 0 && *segment == Segment::Key("steps".into());
    }
    if steps {
        return Err(Box::new(
            Finding::error(at, "a step cannot be set as a whole")
                .hint("name a key of it: `steps.ID.with.KEY=value`".to_owned()),
        ));
    }
    if value.is_null() {
        remove(node, last);
    } else {
        *child(node, last, at)? = value;
    }
    Ok(())
}

fn step<'n>(steps: &'n mut Node, segment: &Segment, at: &Span) -> Found<&'n mut Node> {
    let Segment::Key(id) = segment else { return child(steps, segment, at) };
    let ids: Vec<_> = steps.items().iter().map(|step| step.get("id").and_then(Node::text)).collect();
    match ids.iter().position(|known| *known == Some(id)) {
        Some(index) => child(steps, &Segment::Index(index), at),
        None => Err(Box::new(
            Finding::error(&at.find(id), format!("there is no step `{id}`"))
                .hint(did_you_mean(id, ids.iter().copied().flatten())),
        )),
    }
}

/// The value under a key or index; made where it is missing.
fn child<'n>(node: &'n mut Node, segment: &Segment, at: &Span) -> Found<&'n mut Node> {
    let empty = |kind| Node { span: at.clone(), kind };
    if node.is_null() {
        node.kind = match segment {
            Segment::Key(_) => Kind::Map(Vec::new()),
            Segment::Index(_) => Kind::Seq(Vec::new()),
        };
    }
    let what = node.describe();
    match (&mut node.kind, segment) {
        (Kind::Map(entries), Segment::Key(key)) => {
            let index = entries.iter().position(|entry| entry.key == *key).unwrap_or(entries.len());
            if index == entries.len() {
                let value = empty(Kind::Scalar(serde_json::Value::Null));
                entries.push(Entry { key: key.clone(), at: at.find(key), value });
            }
            Ok(&mut entries[index].value)
        }
        (Kind::Seq(items), Segment::Index(index)) => {
            let length = items.len();
            if *index == length {
                items.push(empty(Kind::Scalar(serde_json::Value::Null)));
            }
            items.get_mut(*index).ok_or_else(|| {
                let message = format!("there is no item {index}: the next one is {length}");
                Box::new(Finding::error(at, message))
            })
        }
        (_, Segment::Key(key)) => {
            Err(Box::new(Finding::error(&at.find(key), format!("`{key}` of {what} cannot be set"))))
        }
        (_, Segment::Index(index)) => {
            Err(Box::new(Finding::error(at, format!("item {index} of {what} cannot be set"))))
        }
    }
}

fn remove(node: &mut Node, segment: &Segment) {
    match (&mut node.kind, segment) {
        (Kind::Map(entries), Segment::Key(key)) => entries.retain(|entry| entry.key != *key),
        (Kind::Seq(items), Segment::Index(index)) if *index < items.len() => {
            items.remove(*index);
        }
        _ => {}
    }
}
