//! `--enable-feature`, as Prometheus has it.

use clap::Args;
use promql::{SyntaxOptions, enable_features};

/// Which experimental parts of PromQL are on.
#[derive(Debug, Clone, Default, Args)]
pub struct FeatureArgs {
    /// Experimental parts of PromQL, separated by commas: promql-experimental-functions (info), promql-duration-expr,
    /// promql-extended-range-selectors, promql-binop-fill-modifiers
    #[arg(long = "enable-feature", value_name = "NAMES", value_delimiter = ',')]
    pub names: Vec<String>,
}

impl FeatureArgs {
    /// The language that they make. Names that mean nothing here are handed to `warn`.
    pub fn syntax(&self, warn: impl FnMut(&str)) -> SyntaxOptions {
        let names = self.names.iter().map(|name| name.trim()).filter(|name| !name.is_empty());
        let (syntax, unknown) = enable_features(names);
        unknown.into_iter().for_each(warn);
        syntax
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        features: FeatureArgs,
    }

    #[test]
    fn features_are_separated_by_commas_or_repeated() {
        let line =
            "x --enable-feature=promql-duration-expr,native-histograms --enable-feature=promql-binop-fill-modifiers";
        let line = Line::try_parse_from(line.split(' ')).expect("is a command line");
        let mut unknown = Vec::new();
        let syntax = line.features.syntax(|name| unknown.push(name.to_owned()));
        assert!(syntax.duration_expressions && syntax.fill && !syntax.info && !syntax.extended_ranges);
        assert_eq!(unknown, ["native-histograms"]);
    }
}
