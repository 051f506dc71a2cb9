//! Aggregations over series: rows fold into their group as they stream by.

use model::{Labels, LabelsBuilder};

use super::fold::Folded;
use super::groups::Groups;
use super::math::quantile;
use super::rows::Rows;
use super::top::Extremes;
use super::{Evaluation, Sink, Steps, absent, is_absent};
use crate::PromqlError;
use crate::plan::{Aggregate, AggregateFunction, FoldFunction, Parameter, Vector};

impl Evaluation<'_> {
    /// An aggregation.
    pub(super) fn aggregate(&self, node: &Aggregate, steps: Steps, sink: &mut Sink<'_>) -> Result<(), PromqlError> {
        match &node.function {
            AggregateFunction::Fold(function) => self.fold(*function, node, steps, sink),
            AggregateFunction::Top { largest, k } => self.top(*largest, k, node, steps, sink),
            AggregateFunction::Limit(k) => self.limit(k, node, steps, sink),
            AggregateFunction::LimitRatio(ratio) => self.limit_ratio(ratio, node, steps, sink),
            AggregateFunction::Quantile(phi) => self.quantile(phi, node, steps, sink),
            AggregateFunction::CountValues(label) => self.count_values(label, node, steps, sink),
        }
    }

    fn fold(
        &self,
        function: FoldFunction,
        node: &Aggregate,
        steps: Steps,
        sink: &mut Sink<'_>,
    ) -> Result<(), PromqlError> {
        if function == FoldFunction::Count
            && node.grouping.is_nothing()
            && let Vector::Select(selector) = &*node.input
            && let Some(count) = self.count_live(selector, steps)?
        {
            return if count == 0 { Ok(()) } else { sink((&Labels::empty()).into(), &mut [count as f64]) };
        }
        let names = node.grouping.names();
        let mut held = self.budget.hold(0)?;
        let mut groups = Groups::new();
        self.vector(&node.input, steps, &mut |labels, column| {
            let group = groups.of_row(&node.grouping, &names, labels, || {
                held.add_group(steps.count * Folded::weight(function))?;
                Ok::<_, PromqlError>(Folded::new(function, steps.count))
            })?;
            group.add(column);
            Ok(())
        })?;
        for (labels, group) in groups.in_order() {
            self.budget.work(steps.count)?;
            sink((&labels).into(), &mut group.finish())?;
        }
        Ok(())
    }

    /// All values of a group are needed, so its rows are held.
    fn quantile(
        &self,
        phi: &Parameter,
        node: &Aggregate,
        steps: Steps,
        sink: &mut Sink<'_>,
    ) -> Result<(), PromqlError> {
        let place = phi.place;
        let phi = self.scalar(&phi.value, steps)?;
        // Of a parameter that changes only the worst is told.
        let Extremes { min, max, .. } = Extremes::of(&phi);
        self.check_quantile(place, &[min, max]);
        let names = node.grouping.names();
        let mut groups = Groups::new();
        self.vector(&node.input, steps, &mut |labels, column| {
            let rows = groups.of_row(&node.grouping, &names, labels, || Rows::new(self.budget))?;
            rows.keep(labels, column)
        })?;
        let mut values = Vec::new();
        let mut column = vec![absent(); steps.count];
        for (labels, rows) in groups.in_order() {
            for (step, slot) in column.iter_mut().enumerate() {
                values.clear();
                values.extend(rows.rows.iter().map(|row| row.values[step]).filter(|v| !is_absent(*v)));
                self.budget.work(values.len())?;
                *slot = if values.is_empty() { absent() } else { quantile(phi[step], &mut values) };
            }
            sink((&labels).into(), &mut column)?;
        }
        Ok(())
    }

    fn count_values(
        &self,
        label: &str,
        node: &Aggregate,
        steps: Steps,
        sink: &mut Sink<'_>,
    ) -> Result<(), PromqlError> {
        let names = node.grouping.names();
        // The label of the values is one more label of the row, which `without` can take away again.
        let label = (node.grouping.include || !names.contains(&label)).then_some(label);
        let mut held = self.budget.hold(0)?;
        let mut groups = Groups::new();
        let mut builder = LabelsBuilder::new();
        self.vector(&node.input, steps, &mut |labels, column| {
            let base = node.grouping.key(labels, &names);
            for (step, value) in column.iter().enumerate().filter(|(_, v)| !is_absent(**v)) {
                builder.reset(&base);
                if let Some(label) = label {
                    builder.set(label, &plain_notation(*value));
                }
                let counts = groups.entry(builder.iter(), || {
                    held.add_group(steps.count)?;
                    Ok::<_, PromqlError>(vec![absent(); steps.count])
                })?;
                counts[step] = if is_absent(counts[step]) { 1.0 } else { counts[step] + 1.0 };
            }
            self.budget.work(column.len())
        })?;
        groups.in_order().iter_mut().try_for_each(|(labels, counts)| sink((&*labels).into(), counts))
    }
}

/// A value as the text of a label: never an exponent.
fn plain_notation(value: f64) -> String {
    match value {
        v if v.is_nan() => "NaN".to_owned(),
        v if v.is_infinite() => if v > 0.0 { "+Inf" } else { "-Inf" }.to_owned(),
        v => format!("{v}"),
    }
}
