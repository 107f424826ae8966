//! Findings in a pipeline file: the text that `spec` renders goes in; colours and line breaks for this screen come out.

use crate::text::{Style, Tone};

/// What begins a finding.
const HEADS: [(&str, Tone); 3] = [("error: ", Tone::Bad), ("warning: ", Tone::Warn), ("hint: ", Tone::Dim)];

/// Findings as they are shown: messages and hints are broken to the screen's width, source lines are left alone.
pub fn findings_text(findings: &str, style: &Style) -> String {
    findings.lines().map(|line| shown(line, style)).collect::<Vec<_>>().join("\n")
}

fn shown(line: &str, style: &Style) -> String {
    for (head, tone) in HEADS {
        if let Some(message) = line.strip_prefix(head) {
            return style.hang(&format!("{} ", style.paint(tone, head.trim_end())), message);
        }
    }
    match line.split_once("= ") {
        Some((margin, hint)) if margin.trim().is_empty() => style.hang(&format!("{margin}= "), hint),
        _ => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FINDING: &str = "warning: the gateway may read every Secret beside it [istio/gateway-namespace]
  --> prod.yaml:65:18
   |
65 |       namespace: ${{ vars.a_name_that_is_longer_than_the_screen }}
   |                  ^^^^^^^^^^^^^^^^^^^^^
   = give it a namespace of its own: `namespace: istio-ingress`";

    #[test]
    fn breaks_what_was_said_and_not_what_was_written() {
        let narrow = Style { width: 50, ..Style::plain(false) };
        assert_eq!(
            findings_text(FINDING, &narrow),
            "warning: the gateway may read every Secret beside
         it [istio/gateway-namespace]
  --> prod.yaml:65:18
   |
65 |       namespace: ${{ vars.a_name_that_is_longer_than_the_screen }}
   |                  ^^^^^^^^^^^^^^^^^^^^^
   = give it a namespace of its own: `namespace:
     istio-ingress`"
        );
        assert_eq!(findings_text(FINDING, &Style::plain(false)), FINDING);
    }
}
