//! `label_replace` and `label_join`: rows whose labels change and whose values do not. Labels that become equal are
//! refused by the node above.

use model::LabelsBuilder;

use super::{Evaluation, Sink, Steps};
use crate::PromqlError;
use crate::plan::{Relabel, Vector};

impl Evaluation<'_> {
    /// Changes the labels of each row.
    pub(super) fn relabel(
        &self,
        relabel: &Relabel,
        input: &Vector,
        steps: Steps,
        sink: &mut Sink<'_>,
    ) -> Result<(), PromqlError> {
        let mut builder = LabelsBuilder::new();
        let mut text = String::new();
        self.vector(input, steps, &mut |labels, column| {
            text.clear();
            let destination = match relabel {
                Relabel::Replace { destination, replacement, source, regex } => {
                    let Some(captures) = regex.captures(labels.get(source).unwrap_or("")) else {
                        return sink(labels, column);
                    };
                    captures.expand(replacement, &mut text);
                    destination
                }
                Relabel::Join { destination, separator, sources } => {
                    for (at, source) in sources.iter().enumerate() {
                        text.push_str(if at > 0 { separator } else { "" });
                        text.push_str(labels.get(source).unwrap_or(""));
                    }
                    destination
                }
            };
            builder.reset(&labels.build());
            builder.set(destination, &text);
            sink((&builder.build()).into(), column)
        })
    }
}
