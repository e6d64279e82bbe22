"""What the dashboards show: each panel's title, what it tells, its unit, its queries, its thresholds and its runbooks.

`{s}` in a query stands for the selection by job, cluster and instance, `{c}` for that by cluster alone (recorded series
and alerts have no instance), `{r}` for the range of rates. `build` makes Grafana's JSON of it. The content of a panel is
here alone. No query ends with `or vector(0)`: what has no data must not look as if all were well.
"""

from dataclasses import dataclass

Steps = tuple[tuple[float, str], ...]
"""From which value on a colour holds. Below the first a line is green, and a number has no colour."""


@dataclass(frozen=True, slots=True)
class Query:
    """A PromQL expression and the legend of its series."""

    expression: str
    legend: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel. `kind`: timeseries or stat; `width` of 24 columns. `alerts`: those that fire for what it shows, whose
    sections of docs/OPERATIONS.md it links to. `absent`: what it says when there is nothing to show; `optional`: there
    may be nothing, though all is as it should be."""

    title: str
    tells: str
    unit: str
    queries: tuple[Query, ...]
    kind: str = "timeseries"
    width: int = 12
    height: int = 8
    steps: Steps = ()
    stacked: bool = False
    alerts: tuple[str, ...] = ()
    absent: str = "no data"
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Dashboard:
    """One dashboard; `uid` is also its file's name."""

    uid: str
    title: str
    tells: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Event:
    """What every dashboard marks on its time axis: while the expression has values, with the labels as text."""

    name: str
    colour: str
    expression: str
    title: str
    text: str


def _line(
    title: str,
    tells: str,
    unit: str,
    *queries: tuple[str, str],
    width: int = 12,
    steps: Steps = (),
    stacked: bool = False,
    alerts: tuple[str, ...] = (),
    absent: str = "no data",
) -> Panel:
    drawn = tuple(Query(*q) for q in queries)
    return Panel(title, tells, unit, drawn, width=width, steps=steps, stacked=stacked, alerts=alerts, absent=absent)


def _number(
    title: str,
    tells: str,
    unit: str,
    expression: str,
    *,
    steps: Steps = (),
    width: int = 4,
    alerts: tuple[str, ...] = (),
    absent: str = "no data",
) -> Panel:
    query = (Query(expression, title),)
    return Panel(title, tells, unit, query, "stat", width, 4, steps, alerts=alerts, absent=absent)


def _quantiles(metric: str, by: str = "") -> tuple[tuple[str, str], ...]:
    groups, label = (f"{by}, le", f" {{{{{by}}}}}") if by else ("le", "")
    return tuple(
        (f"histogram_quantile({q}, sum by ({groups}) (rate({metric}_bucket{{s}}[{{r}}])))", f"p{round(q * 100)}{label}")
        for q in (0.5, 0.95, 0.99)
    )


def _p95(metric: str, by: str) -> tuple[str, str]:
    """By one label; those that nobody has asked for lately have no line."""
    return (
        f"histogram_quantile(0.95, sum by ({by}, le) (rate({metric}_bucket{{s}}[{{r}}]))) >= 0",
        f"{{{{{by}}}}}",
    )


DAY = 86400.0
YEAR = 365 * DAY
SLOW: Steps = ((0.05, "yellow"), (0.1, "red"))
ERRORS: Steps = ((0, "green"), (0.001, "yellow"), (0.0144, "red"))
ALL: Steps = ((0, "red"), (1, "green"))
BUDGET: Steps = ((-1000, "red"), (0, "yellow"), (0.25, "green"))
NONE: Steps = ((0, "green"), (1, "red"))
NO_WEBHOOK = "no webhook is configured"
NO_OUTBOX = "no database has an outbox"

EVENTS = (
    Event("Deploys", "blue", "group by (cluster, version) (flotilla_build_info{s})"
          " unless group by (cluster, version) (flotilla_build_info{s} offset 5m)", "Version {{version}}", "{{cluster}}"),
    Event("Restarts", "purple", "sum by (cluster, instance) (changes(process_start_time_seconds{s}[1m])) > 0",
          "{{instance}} was started", "{{cluster}}"),
    Event("Alerts", "red", 'ALERTS{alertstate="firing",severity=~"critical|warning",{c}}', "{{alertname}}",
          "{{severity}} {{cluster}} {{instance}} {{policy}} {{shard}} {{task}} {{endpoint}} {{database}}"),
)  # fmt: skip

OVERVIEW = Dashboard(
    "flotilla-overview",
    "Flotilla: overview",
    "Is everything well? Objectives, instances, connections.",
    (
        _number("Ready instances", "Of the instances there should be, those that should get clients: green when all are.",
                "percentunit", "sum(app_ready{s}) / count(up{s})", steps=ALL, alerts=("readiness_down", "crash_loop"),
                absent="no instance"),
        _number("Reachable instances", "Of the instances there should be, those that Prometheus reaches: green when all are.",
                "percentunit", "sum(up{s}) / count(up{s})", steps=ALL, alerts=("readiness_down",), absent="no instance"),
        _number("Connections", "WebSocket connections open now.", "short", "sum(flotilla_connections{s})"),
        _number("Draining", "Instances with a process that is being stopped in order.", "short",
                "sum(max by (cluster, instance) (flotilla_draining{s}))"),
        _number("Alerts firing", "Alerts that fire now; without the watchdog's, nobody evaluates rules.", "short",
                'count(ALERTS{alertstate="firing",severity=~"critical|warning",{c}})'
                ' or 0 * count(ALERTS{alertstate="firing",severity="none"})', steps=NONE, alerts=("watchdog",),
                absent="no rules"),
        _number("Publications lost", "Given up in the last hour, and nobody was told by an error.", "short",
                "sum(increase(flotilla_publications_lost_total{s}[1h]))", steps=NONE, alerts=("publications_lost",)),
        _number("Error budget left", "Of what 30 days may have of errors of ours (0.1 %). Below 0 the objective was missed.",
                "percentunit", "min(flotilla:error_budget_left:ratio{{c}})", steps=BUDGET, alerts=("slo_errors_burn",),
                absent="not known yet"),
        _number("Latency budget left", "Of what 30 days may have of deliveries slower than 0.1 s (1 %).", "percentunit",
                "min(flotilla:latency_budget_left:ratio{{c}})", steps=BUDGET, alerts=("slo_latency_burn",),
                absent="not known yet"),
        _number("Deliveries within 0.1 s", "Share of deliveries that took at most 0.1 s; the objective is 99 %.",
                "percentunit",
                'sum(rate(flotilla_delivery_seconds_bucket{s,le="0.1"}[{r}])) / sum(rate(flotilla_delivery_seconds_count{s}[{r}]))',
                steps=((0, "red"), (0.95, "yellow"), (0.99, "green")), alerts=("slo_latency_burn",), absent="no deliveries"),
        _number("Errors of ours", "Share of commands answered with error 100; the objective is below 0.1 %.",
                "percentunit",
                'sum(rate(flotilla_command_errors_total{s,code="100"}[{r}])) / sum(rate(flotilla_messages_in_total{s,type!="pong"}[{r}]))',
                steps=ERRORS, alerts=("slo_errors_burn",), absent="no commands"),
        _number("Event-loop lag", "How late the loop wakes up on average, where it is worst.", "s",
                "max(rate(flotilla_event_loop_lag_seconds_sum{s}[{r}]) / rate(flotilla_event_loop_lag_seconds_count{s}[{r}]))",
                steps=((0, "green"), (0.05, "yellow"), (0.1, "red")), alerts=("event_loop_lag",)),
        _number("Redis in trouble", "Redises that throw keys away when they are full, or cannot write their files.", "short",
                "sum(max by (cluster, shard) (flotilla_redis_evicting{s}))"
                " + sum(max by (cluster, shard) (flotilla_redis_persistence_failing{s}))",
                steps=NONE, alerts=("redis_evicting", "redis_persistence"), absent="no Redis answers"),
        _line("Readiness", "1 while an instance should get clients; a line that ends is an instance that is gone.", "short",
              ("max by (instance) (app_ready{s})", "{{instance}}"), alerts=("readiness_down",)),
        _line("Failing checks", "Checks of the readiness that do not hold, by name.", "short",
              ("sum by (check) (1 - app_ready_check{s})", "{{check}}"), steps=((1, "red"),), alerts=("readiness_down",)),
        _line("Connections", "Open connections by instance.", "short",
              ("sum by (instance) (flotilla_connections{s})", "{{instance}}"), stacked=True),
        _line("Publications", "From clients, and written to connections.", "ops",
              ("sum(rate(flotilla_publications_in_total{s}[{r}]))", "in"),
              ("sum(rate(flotilla_publications_out_total{s}[{r}]))", "out")),
        _line("Delivery time", "From when Redis took a publication to its last local write. Red above the objective.", "s",
              *_quantiles("flotilla_delivery_seconds"), steps=SLOW, alerts=("slo_latency_burn",)),
        _line("Lost or given up", "Publications given up because of Redis, gaps that history could not fill, partitions begun again.",
              "short", ("sum by (reason) (increase(flotilla_publications_lost_total{s}[{r}]))", "publications: {{reason}}"),
              ("sum(increase(flotilla_positions_lost_total{s}[{r}]))", "gaps"),
              ("sum(increase(flotilla_redis_losses_total{s}[{r}]))", "partitions"), steps=((1, "red"),),
              alerts=("publications_lost", "positions_lost")),
        _line("Leases and instances", "Instances that hold a lease against instances Prometheus reaches: they must agree.",
              "short", ("max(flotilla_leases{s})", "leases"), ("count(up{s} == 1)", "reachable"),
              ("sum(flotilla_lease_held{s})", "hold their lease"), alerts=("lease_lost", "presence_drift")),
        _line("Versions", "What runs, by version.", "short",
              ("count by (version, django, python) (flotilla_build_info{s})", "{{version}} on Django {{django}}, Python {{python}}")),
    ),
)  # fmt: skip

WEBSOCKETS = Dashboard(
    "flotilla-websockets",
    "Flotilla: WebSockets",
    "Who is connected, what is said, who is dropped, who came back.",
    (
        _line("Connections", "Open connections by instance.", "short",
              ("sum by (instance) (flotilla_connections{s})", "{{instance}}")),
        _line("Clients, by transport", "How they are connected: many that are not on websocket sit behind a proxy that breaks it.", "short",
              ("sum by (transport) (flotilla_transport_connections{s})", "{{transport}}"), stacked=True),
        _line("SDKs", "Connections by the name and version that clients say; the 15 with the most.", "short",
              ("topk(15, sum by (sdk, version) (flotilla_client_sdk_connections{s}))", "{{sdk}} {{version}}")),
        _line("Users and channels", "Distinct users and channels with subscribers, summed over instances.", "short",
              ("sum(flotilla_users{s})", "users"), ("sum(flotilla_channels{s})", "channels")),
        _line("Subscriptions, by namespace", "Subscriptions that are there now.", "short",
              ("sum by (channel_namespace) (flotilla_subscriptions{s})", "{{channel_namespace}}"), stacked=True),
        _line("Publications in, by namespace", "What clients publish.", "ops",
              ("sum by (channel_namespace) (rate(flotilla_publications_in_total{s}[{r}]))", "{{channel_namespace}}")),
        _line("Publications out, by namespace", "Written to connections.", "ops",
              ("sum by (channel_namespace) (rate(flotilla_publications_out_total{s}[{r}]))", "{{channel_namespace}}")),
        _line("Bytes in and out", "Read from clients and written to them, by what they are.", "Bps",
              ("sum by (transport) (rate(flotilla_received_bytes_total{s}[{r}]))", "in: {{transport}}"),
              ("sum by (transport, kind) (rate(flotilla_sent_bytes_total{s}[{r}]))", "out: {{transport}} {{kind}}")),
        _line("Bytes to channels, by namespace", "Publications, joins and leaves, for each connection.", "Bps",
              ("sum by (channel_namespace) (rate(flotilla_channel_sent_bytes_total{s}[{r}]))", "{{channel_namespace}}")),
        _line("Opened", "Connections accepted.", "ops", ("sum by (instance) (rate(flotilla_connections_opened_total{s}[{r}]))", "{{instance}}")),
        _line("Admission", "Clients let in: a second on average, the most within any second, and what an instance says it can take.", "short",
              ("sum by (instance) (rate(flotilla_connections_opened_total{s}[{r}]))", "{{instance}}: average"),
              ("max by (instance) (flotilla_admission_peak{s})", "{{instance}}: peak"), ("min(flotilla_admission_rate{s})", "admission_rate"),
              ("sum(flotilla_admission_waiting{s})", "waiting"), ("max(flotilla_admission_longest_wait_seconds{s})", "longest wait, s"),
              alerts=("admission_queue",)),
        _line("Handshakes refused, places and connections taken back", "503: too many waited. Places of silent clients. Connections without a request.",
              "ops", ("sum(rate(flotilla_admission_refused_total{s}[{r}]))", "refused with 503"),
              ("sum(rate(flotilla_admission_gave_way_total{s}[{r}]))", "silent clients gave way"),
              ("sum(rate(flotilla_http_waiting_closed_total{s}[{r}]))", "connections without a request closed"), steps=((1, "red"),),
              alerts=("admission_queue",)),
        _line("Silent clients and idle connections", "Let in, and have not asked to connect; connections that have sent no request.",
              "short", ("sum(flotilla_admission_silent{s})", "silent clients"), ("sum(flotilla_http_waiting{s})", "without a request")),
        _line("Closed, by code", "1000 and 1001: by the client. 3001: drained. 3008: did not read. 3012: silent.", "ops",
              ("sum by (code) (rate(flotilla_connections_closed_total{s}[{r}]))", "{{code}}")),
        _line("Messages in, by type", "Commands and pongs of clients.", "ops",
              ("sum by (type) (rate(flotilla_messages_in_total{s}[{r}]))", "{{type}}")),
        _line("Messages out, by type", "What was written to connections.", "ops",
              ("sum by (type) (rate(flotilla_messages_out_total{s}[{r}]))", "{{type}}")),
        _line("Commands refused, by code", "100: ours. 103: not permitted. 111: too many.", "ops",
              ("sum by (code) (rate(flotilla_command_errors_total{s}[{r}]))", "{{code}}"), alerts=("slo_errors_burn",)),
        _line("Recoveries", "Clients that came back: recovered, or why not.", "ops",
              ("sum by (outcome, reason) (rate(flotilla_recoveries_total{s}[{r}]))", "{{outcome}} {{reason}}"),
              alerts=("insufficient_recoveries",)),
        _line("Outgoing bytes waiting", "What clients have not taken yet, by instance.", "bytes",
              ("sum by (instance) (flotilla_outgoing_waiting_bytes{s})", "{{instance}}"), alerts=("slow_consumers",)),
        _line("Slow clients dropped", "Ended with 3008 because they did not read.", "ops",
              ("sum by (instance) (rate(flotilla_slow_clients_dropped_total{s}[{r}]))", "{{instance}}"), steps=((0.05, "red"),),
              alerts=("slow_consumers",)),
        _line("Presence", "Entries that instances vouch for.", "short",
              ("sum by (scope) (flotilla_presence_members{s})", "{{scope}}")),
        _line("Presence: drift and reaped", "Connections without an entry or the reverse; entries removed of dead instances.",
              "short", ("sum(flotilla_presence_drift{s})", "drift"),
              ("sum by (scope) (increase(flotilla_presence_reaped_total{s}[{r}]))", "reaped {{scope}}"), steps=((1, "red"),),
              alerts=("presence_drift",)),
        _line("Signals", "Calls of the project's receivers, and those that raised or were slow.", "ops",
              ("sum by (signal) (rate(flotilla_signal_calls_total{s}[{r}]))", "{{signal}}"),
              ("sum by (signal) (rate(flotilla_signal_failures_total{s}[{r}]))", "{{signal}} failed"),
              ("sum by (signal) (rate(flotilla_signal_slow_total{s}[{r}]))", "{{signal}} slow")),
        _line("Signals: how far behind", "Calls that wait, and for how long the oldest of them has.", "short",
              ("sum(flotilla_signals_waiting{s})", "waiting"), ("max(flotilla_signals_lag_seconds{s})", "oldest, s"),
              alerts=("receivers_lag",)),
        _line("Webhooks: requests", "delivered: a 2xx. refused: another answer. failed: none.", "ops",
              ("sum by (endpoint, outcome) (rate(flotilla_webhook_requests_total{s}[{r}]))", "{{endpoint}} {{outcome}}"),
              alerts=("webhook_undelivered",), absent=NO_WEBHOOK),
        _line("Webhooks: how far behind", "For how long the oldest event has waited for a service.", "s",
              ("max by (endpoint) (flotilla_webhook_lag_seconds{s})", "{{endpoint}}"), steps=((60, "yellow"), (300, "red")),
              alerts=("webhook_undelivered",), absent=NO_WEBHOOK),
        _line("Webhooks: events", "What services took, and how many wait for them.", "short",
              ("sum by (endpoint) (rate(flotilla_webhook_events_total{s}[{r}]))", "{{endpoint}}: taken, a second"),
              ("sum by (endpoint) (flotilla_webhook_waiting{s})", "{{endpoint}}: waiting"), absent=NO_WEBHOOK),
        _line("Webhooks: dropped", "Events that a service will never be told of, as too many waited for it.", "short",
              ("sum by (endpoint) (increase(flotilla_webhook_events_dropped_total{s}[{r}]))", "{{endpoint}}"), steps=((1, "red"),),
              alerts=("webhook_events_dropped",), absent=NO_WEBHOOK),
        _line("Outbox: how far behind", "For how long the oldest durable publication has waited; from commit to history, p95.", "s",
              ("max by (database) (flotilla_outbox_oldest_seconds{s})", "{{database}}: oldest"),
              ("histogram_quantile(0.95, sum by (database, le) (rate(flotilla_outbox_lag_seconds_bucket{s}[{r}]))) >= 0",
               "{{database}}: p95"),
              steps=((10, "yellow"), (60, "red")), alerts=("outbox_delayed",), absent=NO_OUTBOX),
        _line("Outbox: rows", "sent. repeated: was there already. resent: Redis had lost it. set_aside: could not be sent.", "ops",
              ("sum by (database, result) (rate(flotilla_outbox_rows_total{s}[{r}]))", "{{database}} {{result}}"), absent=NO_OUTBOX),
        _line("Outbox: waiting and set aside", "Rows that wait (counted up to 10,000), and those that could not be sent.", "short",
              ("max by (database) (flotilla_outbox_waiting{s})", "{{database}}: waiting"),
              ("max by (database) (flotilla_outbox_set_aside{s})", "{{database}}: set aside"),
              alerts=("outbox_set_aside",), absent=NO_OUTBOX),
        _line("Outbox: who relays", "1: this instance has the lease of a database. One has, unless `manage.py relay` does.", "short",
              ("max by (database, instance) (flotilla_outbox_relay{s})", "{{database}}: {{instance}}"),
              alerts=("outbox_delayed",), absent=NO_OUTBOX),
    ),
)  # fmt: skip

LIMITS = Dashboard(
    "flotilla-limits",
    "Flotilla: rate limits and HTTP 429",
    "Which limits bite, how fast they decide, and what HTTP answers.",
    (
        _line("Denied, by policy", "Denials a second; far above the policy's own hour: rl_spike.", "ops",
              ('sum by (policy) (rate(flotilla_ratelimit_decisions_total{s,outcome="denied"}[{r}]))', "{{policy}}"), steps=((5, "red"),),
              alerts=("rl_spike",)),
        _line("Decisions, by outcome", "near: allowed, at 80 % or more. shadow: would be denied.", "ops",
              ("sum by (outcome) (rate(flotilla_ratelimit_decisions_total{s}[{r}]))", "{{outcome}}"), stacked=True),
        _line("Decided without Redis", "failed_…, local: the limiter's Redis does not answer. 1: so it is now, by instance.", "ops",
              ('sum by (outcome) (rate(flotilla_ratelimit_decisions_total{s,outcome=~"failed_.+|local"}[{r}]))', "{{outcome}}"),
              ("max by (instance) (flotilla_ratelimit_redis_away{s})", "away: {{instance}}"),
              steps=((0.1, "red"),), alerts=("limiter_degraded",)),
        _line("Time of a decision", "Decisions that asked Redis.", "s", *_quantiles("flotilla_ratelimit_decision_seconds")),
        _line("Denials from memory", "Denials that cost no round trip to Redis: a flood is mostly these.", "ops",
              ("sum(rate(flotilla_ratelimit_remembered_total{s}[{r}]))", "denied")),
        _line("HTTP responses, by status", "429: a limit; 5xx: ours.", "ops",
              ("sum by (status) (rate(django_http_responses_total_by_status_total{s}[{r}]))", "{{status}}"), alerts=("slo_errors_burn",)),
        _line("HTTP 429", "Requests that a limit refused, of all routes.", "ops",
              ('sum(rate(django_http_responses_total_by_status_total{s,status="429"}[{r}]))', "429"), steps=((5, "red"),)),
        _line("HTTP responses, by route", "By the route's name.", "ops",
              ("sum by (view) (rate(django_http_responses_total_by_status_view_method_total{s}[{r}]))", "{{view}}")),
        _line("WebSocket commands denied", "Answered with 111.", "ops",
              ('sum(rate(flotilla_command_errors_total{s,code="111"}[{r}]))', "111")),
    ),
)  # fmt: skip

LATENCY = Dashboard(
    "flotilla-latency",
    "Flotilla: latency",
    "Where the time of a delivery, a command and a request goes.",
    (
        _line("Delivery time", "Redis to the last local write; lag and fan-out together.", "s",
              *_quantiles("flotilla_delivery_seconds"), steps=SLOW, alerts=("slo_latency_burn",)),
        _line("Slow deliveries", "Share that took longer than 0.1 s.", "percentunit",
              ('1 - sum(rate(flotilla_delivery_seconds_bucket{s,le="0.1"}[{r}])) / sum(rate(flotilla_delivery_seconds_count{s}[{r}]))', "slow"),
              steps=((0.01, "yellow"), (0.06, "red")), alerts=("slo_latency_burn",)),
        _line("Hub lag", "Redis to the arrival in the process: Redis, the network, and the wait for the loop.", "s",
              *_quantiles("flotilla_hub_lag_seconds")),
        _line("Fan-out time", "Arrival to the last local write: this process's own work.", "s",
              *_quantiles("flotilla_fan_out_seconds")),
        _line("Delivery time p95, by instance", "One that stands out is short of CPU, or far from Redis.", "s",
              ("histogram_quantile(0.95, sum by (instance, le) (rate(flotilla_delivery_seconds_bucket{s}[{r}])))", "{{instance}}"), steps=SLOW),
        _line("Command time p95, by command", "From a command's arrival to its answer: what a client waits here. They have 4 s.", "s",
              _p95("flotilla_command_duration_seconds", "command"), steps=((1, "red"),)),
        _line("Permission hooks p95, by hook", "The project's own code that decides who may: a slow one makes commands wait.", "s",
              _p95("flotilla_permission_duration_seconds", "hook"), steps=((0.5, "red"),)),
        _line("Answers of hooks", "failed: raised or too late; its clients are told to try again.", "ops",
              ("sum by (hook, outcome) (rate(flotilla_permission_answers_total{s}[{r}]))", "{{hook}}: {{outcome}}"),
              alerts=("slo_errors_burn",)),
        _line("Database p95", "Queries of pages, hooks and sessions.", "s", _p95("flotilla_database_duration_seconds", "database"),
              steps=((0.1, "yellow"), (1, "red"))),
        _line("Database: load", "Seconds of queries in a second: how many run at a time. Queries a second; connections that are made.", "short",
              ("sum by (database) (rate(flotilla_database_duration_seconds_sum{s}[{r}]))", "{{database}}: at a time"),
              ("sum by (database) (rate(flotilla_database_duration_seconds_count{s}[{r}]))", "{{database}}: queries/s"),
              ("sum by (database) (rate(flotilla_database_connects_total{s}[{r}]))", "{{database}}: connections/s")),
        _line("Database: errors", "Queries that raised.", "ops",
              ("sum by (database) (rate(flotilla_database_errors_total{s}[{r}]))", "{{database}}"), steps=((0.1, "red"),)),
        _line("HTTP API p95, by method", "Each part of a batch by itself.", "s", _p95("flotilla_api_duration_seconds", "method")),
        _line("HTTP API: errors", "Errors in answers, whatever the HTTP status. 100: ours.", "ops",
              ("sum by (method, code) (rate(flotilla_api_errors_total{s}[{r}]))", "{{method}}: {{code}}"), steps=((0.1, "red"),)),
        _line("HTTP request time", "With all middleware.", "s",
              *_quantiles("django_http_requests_latency_including_middlewares_seconds")),
        _line("HTTP request time p95, by route", "By the route's name.", "s",
              ("histogram_quantile(0.95, sum by (view, le) (rate(django_http_requests_latency_seconds_by_view_method_bucket{s}[{r}]))) >= 0", "{{view}}")),
        _line("Traces", "Spans given to the tracer provider, and those dropped since it was late or failed.", "ops",
              ("sum by (instance) (rate(flotilla_spans_total{s}[{r}]))", "{{instance}}"),
              ("sum by (instance) (rate(flotilla_spans_dropped_total{s}[{r}]))", "{{instance}}: dropped")),
        _line("Redis round trip", "From sending a command to its reply.", "s", *_quantiles("flotilla_redis_round_trip_seconds"),
              steps=((0.05, "red"),), alerts=("redis_slow",)),
    ),
)  # fmt: skip

REDIS = Dashboard(
    "flotilla-redis",
    "Flotilla: Redis and fan-out",
    "Memory, commands, failures and reconnects by shard; gaps and how they were filled.",
    (
        _line("Memory", "In use, and what each Redis may use (0: any).", "bytes",
              ("max by (shard) (flotilla_redis_memory_used_bytes{s})", "used, Redis {{shard}}"),
              ("max by (shard) (flotilla_redis_memory_max_bytes{s})", "maxmemory, Redis {{shard}}"), alerts=("redis_memory",)),
        _line("Policy and persistence", "1: throws keys away when it is full; cannot write its snapshot or its append-only file.", "short",
              ("max by (shard) (flotilla_redis_evicting{s})", "evicting, Redis {{shard}}"),
              ("max by (shard) (flotilla_redis_persistence_failing{s})", "cannot write, Redis {{shard}}"), steps=((1, "red"),),
              alerts=("redis_evicting", "redis_persistence")),
        _line("What a Redis lost", "Keys that it threw away; partitions whose streams were begun again.", "short",
              ("max by (shard) (increase(flotilla_redis_evicted_keys_total{s}[{r}]))", "keys, Redis {{shard}}"),
              ("sum by (shard) (increase(flotilla_redis_losses_total{s}[{r}]))", "partitions, Redis {{shard}}"), steps=((1, "red"),),
              alerts=("redis_evicting", "positions_lost")),
        _line("Commands", "Sent to each Redis.", "ops", ("sum by (shard) (rate(flotilla_redis_commands_total{s}[{r}]))", "Redis {{shard}}")),
        _line("Calls given up and refused", "Given up: no answer. Refused: answered with an error.", "ops",
              ("sum by (shard) (rate(flotilla_redis_unavailable_total{s}[{r}]))", "given up, Redis {{shard}}"),
              ("sum by (shard) (rate(flotilla_redis_refused_total{s}[{r}]))", "refused, Redis {{shard}}"), steps=((0.2, "red"),),
              alerts=("redis_errors",)),
        _line("Connections made", "Command and pub/sub connections that were made again.", "short",
              ("sum by (shard) (increase(flotilla_redis_connects_total{s}[{r}]))", "commands, Redis {{shard}}"),
              ("sum by (shard) (increase(flotilla_pubsub_reconnects_total{s}[{r}]))", "pub/sub, Redis {{shard}}"), alerts=("refills",)),
        _line("Round trip", "From sending a command to its reply, by shard.", "s",
              *_quantiles("flotilla_redis_round_trip_seconds", "shard"), steps=((0.05, "red"),), alerts=("redis_slow",)),
        _line("Gaps", "Looked up in history, and those it could not fill.", "ops",
              ("sum(rate(flotilla_refills_total{s}[{r}]))", "refills"),
              ("sum(rate(flotilla_positions_lost_total{s}[{r}]))", "lost"), steps=((0.2, "red"),), alerts=("refills", "positions_lost")),
        _line("Channels not live", "Channels that wait for more than 5 s to be confirmed, or for what is missing.", "short",
              ("sum by (state) (flotilla_channels_not_live{s})", "{{state}}"), steps=((1, "red"),), alerts=("channels_not_live",)),
        _line("Tasks begun again", "Tasks that failed, by name.", "short",
              ("sum by (task) (increase(flotilla_task_restarts_total{s}[{r}]))", "{{task}}"), steps=((1, "red"),),
              alerts=("tasks_restarting",)),
        _line("Publications from history", "Handed on from history instead of the layer.", "ops",
              ("sum(rate(flotilla_refilled_publications_total{s}[{r}]))", "publications")),
        _line("Fan-out factor", "Writes per publication that a process received.", "short",
              ("sum(rate(flotilla_publications_out_total{s}[{r}])) / sum(rate(flotilla_fan_out_seconds_count{s}[{r}]))", "writes")),
        _line("Fan-out time", "Arrival to the last local write.", "s", *_quantiles("flotilla_fan_out_seconds")),
    ),
)  # fmt: skip

PROCESS = Dashboard(
    "flotilla-process",
    "Flotilla: CPU, memory and loop lag",
    "What each process uses, and whether its event loop keeps up.",
    (
        _line("CPU", "Cores used; one process can use one.", "percentunit",
              ("max by (instance) (rate(process_cpu_seconds_total{s}[{r}]))", "{{instance}}"),
              steps=((0.8, "yellow"), (0.95, "red")), alerts=("cpu_saturation",)),
        _line("Memory", "Resident memory.", "bytes", ("sum by (instance) (process_resident_memory_bytes{s})", "{{instance}}"),
              alerts=("memory_growth",)),
        _line("Memory per connection", "Resident memory by open connections; the empty process counts in.", "bytes",
              ("sum by (instance) (process_resident_memory_bytes{s}) / (sum by (instance) (flotilla_connections{s}) > 0)", "{{instance}}")),
        _line("Open files", "Each connection is one.", "short", ("sum by (instance) (process_open_fds{s})", "{{instance}}")),
        _line("Open files, of those allowed", "Full: nobody can connect.", "percentunit",
              ("max by (instance) (process_open_fds{s} / process_max_fds{s})", "{{instance}}"), steps=((0.8, "red"),),
              alerts=("open_files",)),
        _line("Event-loop lag, average", "How late the loop wakes up. Above 0.1 s: event_loop_lag.", "s",
              ("max by (instance) (rate(flotilla_event_loop_lag_seconds_sum{s}[{r}])"
               " / rate(flotilla_event_loop_lag_seconds_count{s}[{r}]))", "{{instance}}"),
              steps=((0.05, "yellow"), (0.1, "red")), alerts=("event_loop_lag",)),
        _line("Event-loop lag", "Over all instances.", "s", *_quantiles("flotilla_event_loop_lag_seconds")),
        Panel("Certificates", "Until a certificate that an instance serves or watches ends.", "s",
              (Query("min by (certificate) (flotilla_tls_certificate_expiry_timestamp_seconds{s}) - time()", "{{certificate}}"),
               Query("min by (certificate) (flotilla_tls_certificate_readable{s})", "{{certificate}}: can be read")),
              steps=((-10 * YEAR, "red"), (14 * DAY, "green")), alerts=("certificate_expiry",),
              absent="no certificate is watched", optional=True),
        _line("Uptime", "Since the process began.", "s", ("time() - max by (instance) (process_start_time_seconds{s})", "{{instance}}"),
              alerts=("crash_loop",)),
    ),
)  # fmt: skip

DASHBOARDS = (OVERVIEW, WEBSOCKETS, LIMITS, LATENCY, REDIS, PROCESS)
