//! Every endpoint below `/api/v1` in one table: its path, methods, parameters and answer. The router and the OpenAPI
//! document are both made of it, so neither knows what the other does not.

use std::sync::Arc;

use axum::handler::Handler;
use axum::routing::{MethodRouter, get, post};

use crate::api::Api;
use crate::{admin, exemplars, features, fleet, language, openapi, query, rule_list, series, status, targets};

/// The methods of an endpoint. GET comes with HEAD.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Methods {
    Get,
    /// With parameters in the URL or in a form.
    GetAndPost,
    PostAndPut,
}

impl Methods {
    /// As they stand in a request line.
    pub(crate) fn names(self) -> &'static [&'static str] {
        match self {
            Self::Get => &["GET"],
            Self::GetAndPost => &["GET", "POST"],
            Self::PostAndPut => &["POST", "PUT"],
        }
    }
}

/// How a parameter is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Text,
    Whole,
    Boolean,
    /// Seconds since the epoch, or RFC 3339.
    Moment,
    /// Seconds, or a duration like `5m`.
    Span,
    /// Text that may be given several times.
    Texts,
}

/// One parameter.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    pub(crate) form: Form,
    pub(crate) required: bool,
    pub(crate) about: &'static str,
}

const fn optional(name: &'static str, form: Form, about: &'static str) -> Parameter {
    Parameter { name, form, required: false, about }
}

const fn required(name: &'static str, form: Form, about: &'static str) -> Parameter {
    Parameter { name, form, required: true, about }
}

/// What a successful answer holds as `data`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Data {
    /// Nothing: status 204.
    Nothing,
    Text,
    Texts,
    LabelSets,
    /// An object with these keys.
    Object(&'static [&'static str]),
    /// A list of objects with these keys.
    Objects(&'static [&'static str]),
    /// An object whose keys are data themselves.
    Map,
    /// No envelope: YAML.
    Yaml,
    /// No envelope: protobuf.
    Protobuf,
}

/// One endpoint.
pub(crate) struct Endpoint {
    pub(crate) path: &'static str,
    pub(crate) methods: Methods,
    pub(crate) tag: &'static str,
    pub(crate) about: &'static str,
    pub(crate) parameters: &'static [Parameter],
    pub(crate) data: Data,
    route: fn(Methods) -> MethodRouter<Arc<Api>>,
}

impl Endpoint {
    /// Its handler under its methods.
    pub(crate) fn route(&self) -> MethodRouter<Arc<Api>> {
        (self.route)(self.methods)
    }
}

fn on<H: Handler<T, Arc<Api>>, T: 'static>(methods: Methods, handler: H) -> MethodRouter<Arc<Api>> {
    match methods {
        Methods::Get => get(handler),
        Methods::GetAndPost => get(handler.clone()).post(handler),
        Methods::PostAndPut => post(handler.clone()).put(handler),
    }
}

/// All that are described: those of this crate, and those that others serve beside it.
pub(crate) fn described() -> impl Iterator<Item = &'static Endpoint> {
    endpoints().chain(PEERS)
}

/// All of this crate.
pub(crate) fn endpoints() -> impl Iterator<Item = &'static Endpoint> {
    [QUERIES, SERIES, SURROUNDINGS, FLEET, STATUS, ADMIN].into_iter().flatten()
}

const QUERY: Parameter = required("query", Form::Text, "A PromQL expression.");
const TIMEOUT: Parameter = optional("timeout", Form::Span, "Gives up after this long; the server's limit holds too.");
const LOOKBACK: Parameter = optional("lookback_delta", Form::Span, "How far instant selectors look back.");
const STATS: Parameter =
    optional("stats", Form::Text, "Anything adds statistics to the answer; `all` those of each step too.");
const LIMIT: Parameter = optional("limit", Form::Whole, "How many items to return; 0 is all of them.");
const MATCH: Parameter = optional("match[]", Form::Texts, "A selector; a series needs to satisfy one of them.");
const START: Parameter = optional("start", Form::Moment, "Begin of the range.");
const END: Parameter = optional("end", Form::Moment, "End of the range, included.");

const RESULT: Data = Data::Object(&["resultType", "result", "stats"]);

const QUERIES: &[Endpoint] = &[
    Endpoint {
        path: "/api/v1/query",
        methods: Methods::GetAndPost,
        tag: "query",
        about: "Evaluates an expression at one instant.",
        parameters: &[
            QUERY,
            optional("time", Form::Moment, "The instant; now, where it is not given."),
            TIMEOUT,
            LOOKBACK,
            LIMIT,
            STATS,
        ],
        data: RESULT,
        route: |methods| on(methods, query::instant),
    },
    Endpoint {
        path: "/api/v1/query_range",
        methods: Methods::GetAndPost,
        tag: "query",
        about: "Evaluates an expression at every step of a range.",
        parameters: &[
            QUERY,
            required("start", Form::Moment, "The first step."),
            required("end", Form::Moment, "No step is later."),
            required("step", Form::Span, "From one step to the next."),
            optional("nocache", Form::Boolean, "Evaluates every step, whatever was evaluated before."),
            TIMEOUT,
            LOOKBACK,
            LIMIT,
            STATS,
        ],
        data: RESULT,
        route: |methods| on(methods, query::range),
    },
    Endpoint {
        path: "/api/v1/query_exemplars",
        methods: Methods::GetAndPost,
        tag: "query",
        about: "Exemplars of the series that an expression selects.",
        parameters: &[QUERY, START, END],
        data: Data::Objects(&["seriesLabels", "exemplars"]),
        route: |methods| on(methods, exemplars::exemplars),
    },
    Endpoint {
        path: "/api/v1/format_query",
        methods: Methods::GetAndPost,
        tag: "query",
        about: "Lays an expression out for reading.",
        parameters: &[QUERY],
        data: Data::Text,
        route: |methods| on(methods, language::format_query),
    },
    Endpoint {
        path: "/api/v1/parse_query",
        methods: Methods::GetAndPost,
        tag: "query",
        about: "An expression as a tree.",
        parameters: &[QUERY],
        data: Data::Object(&["type"]),
        route: |methods| on(methods, language::parse_query),
    },
];

const SERIES: &[Endpoint] = &[
    Endpoint {
        path: "/api/v1/labels",
        methods: Methods::GetAndPost,
        tag: "series",
        about: "Label names, sorted.",
        parameters: &[MATCH, START, END, LIMIT],
        data: Data::Texts,
        route: |methods| on(methods, series::label_names),
    },
    Endpoint {
        path: "/api/v1/label/{name}/values",
        methods: Methods::Get,
        tag: "series",
        about: "The values of one label, sorted. A name that no URL can hold is written U__ and escaped.",
        parameters: &[MATCH, START, END, LIMIT],
        data: Data::Texts,
        route: |methods| on(methods, series::label_values),
    },
    Endpoint {
        path: "/api/v1/series",
        methods: Methods::GetAndPost,
        tag: "series",
        about: "The label sets of the selected series.",
        parameters: &[
            required("match[]", Form::Texts, "A selector; a series needs to satisfy one of them."),
            START,
            END,
            LIMIT,
        ],
        data: Data::LabelSets,
        route: |methods| on(methods, series::series),
    },
    Endpoint {
        path: "/api/v1/metadata",
        methods: Methods::Get,
        tag: "series",
        about: "Type, help and unit of metric families, by name.",
        parameters: &[
            optional("metric", Form::Text, "Only this family."),
            optional("limit", Form::Whole, "How many families to return."),
            optional("limit_per_metric", Form::Whole, "How many entries to return for each family."),
        ],
        data: Data::Map,
        route: |methods| on(methods, series::metadata),
    },
];

const SURROUNDINGS: &[Endpoint] = &[
    Endpoint {
        path: "/api/v1/targets",
        methods: Methods::Get,
        tag: "targets",
        about: "The targets and how their last scrape went.",
        parameters: &[
            optional("state", Form::Text, "`active`, `dropped` or `any`."),
            optional("scrapePool", Form::Text, "Only the targets of this job."),
        ],
        data: Data::Object(&["activeTargets", "droppedTargets", "droppedTargetCounts"]),
        route: |methods| on(methods, targets::targets),
    },
    Endpoint {
        path: "/api/v1/targets/metadata",
        methods: Methods::Get,
        tag: "targets",
        about: "Type, help and unit of the metric families of each target.",
        parameters: &[
            optional("match_target", Form::Text, "A selector that the target's labels satisfy; all without it."),
            optional("metric", Form::Text, "Only this family."),
            optional("limit", Form::Whole, "No further target is looked at once there are this many entries."),
        ],
        data: Data::Objects(&["target", "metric", "type", "help", "unit"]),
        route: |methods| on(methods, targets::metadata),
    },
    Endpoint {
        path: "/api/v1/scrape_pools",
        methods: Methods::Get,
        tag: "targets",
        about: "The names of the scrape jobs.",
        parameters: &[],
        data: Data::Object(&["scrapePools"]),
        route: |methods| on(methods, targets::scrape_pools),
    },
    Endpoint {
        path: "/api/v1/rules",
        methods: Methods::Get,
        tag: "rules",
        about: "Rule groups with their rules, and the alerts of each.",
        parameters: &[
            optional("type", Form::Text, "`alert` or `record`."),
            optional("rule_name[]", Form::Texts, "Only rules of these names."),
            optional("rule_group[]", Form::Texts, "Only groups of these names."),
            optional("file[]", Form::Texts, "Only groups of these files."),
            optional("match[]", Form::Texts, "A selector over the rules' own labels."),
            optional("exclude_alerts", Form::Boolean, "Leaves the alerts out."),
            optional("group_limit", Form::Whole, "How many groups to return at once."),
            optional("group_next_token", Form::Text, "Where the last answer ended: its `groupNextToken`."),
        ],
        data: Data::Object(&["groups", "groupNextToken"]),
        route: |methods| on(methods, rule_list::rules),
    },
    Endpoint {
        path: "/api/v1/alerts",
        methods: Methods::Get,
        tag: "rules",
        about: "The alerts that are pending or firing.",
        parameters: &[],
        data: Data::Object(&["alerts"]),
        route: |methods| on(methods, rule_list::alerts),
    },
    Endpoint {
        path: "/api/v1/alertmanagers",
        methods: Methods::Get,
        tag: "rules",
        about: "Where alerts are sent.",
        parameters: &[],
        data: Data::Object(&["activeAlertmanagers", "droppedAlertmanagers"]),
        route: |methods| on(methods, rule_list::alertmanagers),
    },
];

const FLEET: &[Endpoint] = &[Endpoint {
    path: "/api/v1/fleet/sources",
    methods: Methods::Get,
    tag: "fleet",
    about: "Who sends to this tier, up to when each of them is complete, and how delivery goes.",
    parameters: &[
        optional("tier", Form::Text, "Only sources of this tier: `edge`, `cascade`, `central`, or `remote`."),
        optional("behind", Form::Boolean, "Only sources that lag or are gone."),
        LIMIT,
    ],
    data: Data::Object(&["watermark", "counts", "sources"]),
    route: |methods| on(methods, fleet::sources),
}];

const STATUS: &[Endpoint] = &[
    Endpoint {
        path: "/api/v1/status/buildinfo",
        methods: Methods::Get,
        tag: "status",
        about: "What this is, and the Prometheus whose API it has.",
        parameters: &[],
        data: Data::Object(&["version", "revision", "branch", "buildUser", "buildDate", "goVersion"]),
        route: |methods| on(methods, status::build_info),
    },
    Endpoint {
        path: "/api/v1/status/runtimeinfo",
        methods: Methods::Get,
        tag: "status",
        about: "How this process runs.",
        parameters: &[],
        data: Data::Object(&["startTime", "CWD", "reloadConfigSuccess", "lastConfigTime", "storageRetention"]),
        route: |methods| on(methods, status::runtime_info),
    },
    Endpoint {
        path: "/api/v1/status/config",
        methods: Methods::Get,
        tag: "status",
        about: "The configuration in force, without its secrets.",
        parameters: &[],
        data: Data::Object(&["yaml"]),
        route: |methods| on(methods, status::config),
    },
    Endpoint {
        path: "/api/v1/status/flags",
        methods: Methods::Get,
        tag: "status",
        about: "The command line in force.",
        parameters: &[],
        data: Data::Map,
        route: |methods| on(methods, status::flags),
    },
    Endpoint {
        path: "/api/v1/status/tsdb",
        methods: Methods::Get,
        tag: "status",
        about: "The cardinality of what is stored.",
        parameters: &[optional("limit", Form::Whole, "How many entries in each list, 10 where it is not given.")],
        data: Data::Object(&[
            "headStats",
            "seriesCountByMetricName",
            "labelValueCountByLabelName",
            "memoryInBytesByLabelName",
            "seriesCountByLabelValuePair",
        ]),
        route: |methods| on(methods, status::tsdb),
    },
    Endpoint {
        path: "/api/v1/status/walreplay",
        methods: Methods::Get,
        tag: "status",
        about: "How far the replay of the log is: it is over before anything is served.",
        parameters: &[],
        data: Data::Object(&["min", "max", "current"]),
        route: |methods| on(methods, status::wal_replay),
    },
    Endpoint {
        path: "/api/v1/features",
        methods: Methods::Get,
        tag: "status",
        about: "What this server can do, by area; false is what a flag would enable.",
        parameters: &[],
        data: Data::Map,
        route: |methods| on(methods, features::features),
    },
    Endpoint {
        path: "/api/v1/notifications",
        methods: Methods::Get,
        tag: "status",
        about: "What the operator should know now.",
        parameters: &[],
        data: Data::Objects(&["text", "date", "active"]),
        route: |methods| on(methods, status::notifications),
    },
    Endpoint {
        path: "/api/v1/openapi.yaml",
        methods: Methods::Get,
        tag: "status",
        about: "This document.",
        parameters: &[],
        data: Data::Yaml,
        route: |methods| on(methods, openapi::serve),
    },
];

const ADMIN: &[Endpoint] = &[
    Endpoint {
        path: "/api/v1/admin/tsdb/delete_series",
        methods: Methods::PostAndPut,
        tag: "admin",
        about: "Deletes samples of the selected series. Needs --web.enable-admin-api, as all of these.",
        parameters: &[
            required("match[]", Form::Texts, "A selector; a series needs to satisfy one of them."),
            START,
            END,
        ],
        data: Data::Nothing,
        route: |methods| on(methods, admin::delete_series),
    },
    Endpoint {
        path: "/api/v1/admin/tsdb/clean_tombstones",
        methods: Methods::PostAndPut,
        tag: "admin",
        about: "Takes deleted samples out of the files.",
        parameters: &[],
        data: Data::Nothing,
        route: |methods| on(methods, admin::clean_tombstones),
    },
    Endpoint {
        path: "/api/v1/admin/tsdb/snapshot",
        methods: Methods::PostAndPut,
        tag: "admin",
        about: "Copies everything that is stored into a folder below `snapshots`.",
        parameters: &[optional("skip_head", Form::Boolean, "Understood; what is in memory is copied in any case.")],
        data: Data::Object(&["name"]),
        route: |methods| on(methods, admin::snapshot),
    },
    Endpoint {
        path: "/api/v1/admin/fleet/forget_source",
        methods: Methods::PostAndPut,
        tag: "admin",
        about: "Forgets a source that will not send here again, so that nothing speaks of its silence any more.",
        parameters: &[required("source", Form::Text, "As fleet/sources shows it: `tier/name` or `tier/name/replica`.")],
        data: Data::Nothing,
        route: |methods| on(methods, admin::forget_source),
    },
];

/// What central serves beside this crate: described here, so that one document says all (`crates/peers` has the routes).
const PEERS: &[Endpoint] = &[
    Endpoint {
        path: "/api/v1/peers",
        methods: Methods::Get,
        tag: "peers",
        about: "Central only: how comparisons with the other centrals go.",
        parameters: &[],
        data: Data::Object(&["window", "history", "settled_until", "peers"]),
        route: |_| MethodRouter::new(),
    },
    Endpoint {
        path: "/api/v1/peers/digest",
        methods: Methods::Get,
        tag: "peers",
        about: "Central only: counts and checksums of samples by window and source, or of the parts of one window.",
        parameters: &[
            WINDOWS_START,
            WINDOWS_END,
            optional("window", Form::Span, "What the asker compares; refused where it is another."),
            optional("source", Form::Text, "Only this source; needed with `shards`."),
            optional("shards", Form::Whole, "Into how many parts to divide one window: a power of two up to 4096."),
        ],
        data: Data::Object(&["speaker", "windows", "shards"]),
        route: |_| MethodRouter::new(),
    },
    Endpoint {
        path: "/api/v1/peers/samples",
        methods: Methods::Get,
        tag: "peers",
        about: "Central only: the samples of some parts of one window of a source, as remote write 1.0 with snappy.",
        parameters: &[
            WINDOWS_START,
            WINDOWS_END,
            required("source", Form::Text, "The source; an empty one is that of series without any."),
            required("shards", Form::Whole, "Into how many parts the window is divided."),
            required("shard", Form::Text, "Which of them: up to 256 numbers, separated by commas."),
        ],
        data: Data::Protobuf,
        route: |_| MethodRouter::new(),
    },
];

const WINDOWS_START: Parameter = required("start", Form::Moment, "Begin of the first window, in seconds.");
const WINDOWS_END: Parameter = required("end", Form::Moment, "End of the last one, in seconds.");
