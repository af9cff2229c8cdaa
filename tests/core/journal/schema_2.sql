-- A journal of schema 2, as release 0.1.0 left it when it was killed on 2026-01-15 at 03:07 UTC:
-- executions that passed, failed, were undone, may be undone when their problem closes, ask for
-- approval, were cut off while applying a plan, were not begun; reports unsent and parked.
CREATE TABLE executions (
    seq         INTEGER PRIMARY KEY,  -- the order of arrival
    id          TEXT NOT NULL UNIQUE, -- the trigger's event id
    state       TEXT NOT NULL DEFAULT 'accepted',
    lane        TEXT NOT NULL,
    action      TEXT NOT NULL,
    context     TEXT NOT NULL,
    project     TEXT NOT NULL,
    stage       TEXT NOT NULL,
    service     TEXT NOT NULL,
    accepted_at REAL NOT NULL,        -- Unix time in seconds, here and below
    started_at  REAL,
    finished_at REAL,
    reported_at REAL,                 -- when Keptn had `finished`
    runs        INTEGER NOT NULL DEFAULT 0,
    attempts    INTEGER NOT NULL DEFAULT 0,
    plan        BLOB,
    failure     BLOB,                 -- the outcome that a plan is being undone for
    status      TEXT,
    result      TEXT,
    message     TEXT,
    details     BLOB,
    event       BLOB NOT NULL
, question BLOB, aborted TEXT, listed INTEGER NOT NULL DEFAULT 0, problem_closed INTEGER NOT NULL DEFAULT 0);
CREATE INDEX executions_open ON executions (seq, lane) WHERE state <> 'finished';
CREATE INDEX executions_finished ON executions (finished_at) WHERE state = 'finished';
CREATE TABLE reports (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT, -- never used twice: the outbox goes by it
    execution  TEXT,                  -- NULL for what belongs to no trigger
    kind       TEXT NOT NULL,
    event      BLOB NOT NULL,
    state      TEXT NOT NULL DEFAULT 'unsent', -- or 'parked'
    doubtful   INTEGER NOT NULL DEFAULT 0,
    attempts   INTEGER NOT NULL DEFAULT 0,
    created_at REAL NOT NULL,
    due_at     REAL NOT NULL,
    reason     TEXT
);
CREATE INDEX reports_of ON reports (execution, seq);
CREATE INDEX reports_due ON reports (due_at) WHERE state = 'unsent';
CREATE INDEX reports_parked ON reports (created_at) WHERE state = 'parked';
CREATE TABLE memory (
    action TEXT NOT NULL,
    key    TEXT NOT NULL,
    value  BLOB NOT NULL,
    PRIMARY KEY (action, key)
) WITHOUT ROWID;
CREATE INDEX executions_asking ON executions (seq)
    WHERE question IS NOT NULL AND state <> 'finished';
CREATE TABLE effects (
    execution   INTEGER NOT NULL, -- its seq
    target      TEXT NOT NULL,
    action      TEXT NOT NULL,
    project     TEXT NOT NULL,
    stage       TEXT NOT NULL,
    service     TEXT NOT NULL,
    context     TEXT NOT NULL,
    planned     INTEGER NOT NULL,
    settle      REAL NOT NULL,    -- in seconds
    leads       INTEGER NOT NULL, -- one of each execution does: executions are counted by it
    admitted_at REAL NOT NULL,
    ended_at    REAL,
    settled_at  REAL,
    judged      TEXT,             -- helped, aborted or failed
    PRIMARY KEY (execution, target)
) WITHOUT ROWID;
CREATE INDEX effects_of_target ON effects (target, admitted_at, execution, action);
CREATE INDEX effects_of_action ON effects (action, admitted_at, leads);
CREATE INDEX effects_of_stage ON effects (project, stage, admitted_at, leads, service);
CREATE INDEX effects_running ON effects (execution) WHERE planned AND ended_at IS NULL;
CREATE INDEX effects_settling ON effects (settled_at) WHERE planned AND settle > 0;
CREATE TABLE forgiven (
    target TEXT PRIMARY KEY,
    at     REAL NOT NULL,
    who    TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE pause (
    one    INTEGER PRIMARY KEY CHECK (one = 1),
    who    TEXT NOT NULL,
    reason TEXT NOT NULL,
    since  REAL NOT NULL
);
CREATE TABLE undos (
    execution INTEGER PRIMARY KEY, -- its seq
    context   TEXT NOT NULL,
    state     TEXT NOT NULL,       -- armed, wanted or running; done, refused or failed
    on_closed INTEGER NOT NULL DEFAULT 0,
    due_at    REAL,
    cause     TEXT,
    who       TEXT,
    reason    TEXT,
    asked_at  REAL,
    ended_at  REAL,
    message   TEXT
) WITHOUT ROWID;
CREATE INDEX undos_open ON undos (state, due_at) WHERE ended_at IS NULL;
CREATE INDEX undos_armed ON undos (context) WHERE state = 'armed' AND on_closed;

INSERT INTO executions (seq, id, state, lane, action, context, project, stage, service, accepted_at, started_at, finished_at, reported_at, runs, attempts, status, result, message, details, event, listed, problem_closed) VALUES (
    1,
    'purged',
    'finished',
    'sockshop
production
carts',
    'purge-cache',
    'context of purged',
    'sockshop',
    'production',
    'carts',
    1768446000.19,
    1768446000.208,
    1768446000.229,
    1768446000.251,
    1,
    1,
    'succeeded',
    'pass',
    'purged shop',
    CAST('{}' AS BLOB),
    CAST('{"specversion":"1.0","id":"purged","source":"shipyard-controller","type":"sh.keptn.event.action.triggered","datacontenttype":"application/json","time":"2026-01-15T03:00:00.000Z","shkeptncontext":"context of purged","shkeptnspecversion":"0.2.4","data":{"project":"sockshop","stage":"production","service":"carts","labels":{},"action":{"name":"purge-cache","action":"purge-cache","value":{"zone":"shop"}},"problem":{"State":"OPEN","ProblemTitle":"Failure rate increase"}}}' AS BLOB),
    0,
    0
);

INSERT INTO executions (seq, id, state, lane, action, context, project, stage, service, accepted_at, started_at, finished_at, reported_at, runs, attempts, status, result, message, details, event, listed, problem_closed) VALUES (
    2,
    'not-found',
    'finished',
    'sockshop
production
carts',
    'purge-cache',
    'context of not-found',
    'sockshop',
    'production',
    'carts',
    1768446060.264,
    1768446060.271,
    1768446060.28,
    1768446060.304,
    1,
    1,
    'errored',
    'fail',
    'POST 127.0.0.1 answered 404 Not Found',
    CAST('{}' AS BLOB),
    CAST('{"specversion":"1.0","id":"not-found","source":"shipyard-controller","type":"sh.keptn.event.action.triggered","datacontenttype":"application/json","time":"2026-01-15T03:00:00.000Z","shkeptncontext":"context of not-found","shkeptnspecversion":"0.2.4","data":{"project":"sockshop","stage":"production","service":"carts","labels":{},"action":{"name":"purge-cache","action":"purge-cache","value":{"zone":"nowhere"}},"problem":{"State":"OPEN","ProblemTitle":"Failure rate increase"}}}' AS BLOB),
    0,
    0
);

INSERT INTO executions (seq, id, state, lane, action, context, project, stage, service, accepted_at, started_at, finished_at, reported_at, runs, attempts, plan, status, result, message, details, event, listed, problem_closed) VALUES (
    3,
    'undone',
    'finished',
    'sockshop
production
frontend',
    'set-limit',
    'context of undone',
    'sockshop',
    'production',
    'frontend',
    1768446120.317,
    1768446120.332,
    1768446120.358,
    1768446120.392,
    1,
    1,
    CAST('{"changes":[{"target":"route:checkout","field":"limit","before":5,"after":3}],"notes":[],"memo":{},"replicas":null}' AS BLOB),
    'succeeded',
    'pass',
    'limits set: route:checkout limit: 5 -> 3',
    CAST('{}' AS BLOB),
    CAST('{"specversion":"1.0","id":"undone","source":"shipyard-controller","type":"sh.keptn.event.action.triggered","datacontenttype":"application/json","time":"2026-01-15T03:00:00.000Z","shkeptncontext":"context of undone","shkeptnspecversion":"0.2.4","data":{"project":"sockshop","stage":"production","service":"frontend","labels":{},"action":{"name":"set-limit","action":"set-limit","value":{"checkout":3}},"problem":{"State":"OPEN","ProblemTitle":"Failure rate increase"}}}' AS BLOB),
    0,
    0
);

INSERT INTO executions (seq, id, state, lane, action, context, project, stage, service, accepted_at, started_at, finished_at, reported_at, runs, attempts, plan, status, result, message, details, event, listed, problem_closed) VALUES (
    4,
    'armed',
    'finished',
    'sockshop
production
basket',
    'set-limit',
    'context of armed',
    'sockshop',
    'production',
    'basket',
    1768446180.73,
    1768446180.744,
    1768446180.773,
    1768446180.783,
    1,
    1,
    CAST('{"changes":[{"target":"route:basket","field":"limit","before":10,"after":8}],"notes":[],"memo":{},"replicas":null}' AS BLOB),
    'succeeded',
    'pass',
    'limits set: route:basket limit: 10 -> 8',
    CAST('{}' AS BLOB),
    CAST('{"specversion":"1.0","id":"armed","source":"shipyard-controller","type":"sh.keptn.event.action.triggered","datacontenttype":"application/json","time":"2026-01-15T03:00:00.000Z","shkeptncontext":"context of armed","shkeptnspecversion":"0.2.4","data":{"project":"sockshop","stage":"production","service":"basket","labels":{},"action":{"name":"set-limit","action":"set-limit","value":{"basket":8}},"problem":{"State":"OPEN","ProblemTitle":"Failure rate increase"}}}' AS BLOB),
    0,
    0
);

INSERT INTO executions (seq, id, state, lane, action, context, project, stage, service, accepted_at, started_at, finished_at, runs, attempts, status, result, message, details, event, listed, problem_closed) VALUES (
    5,
    'parked',
    'finished',
    'sockshop
production
orders',
    'purge-cache',
    'context of parked',
    'sockshop',
    'production',
    'orders',
    1768446240.791,
    1768446240.793,
    1768446240.8,
    1,
    1,
    'succeeded',
    'pass',
    'purged parked',
    CAST('{}' AS BLOB),
    CAST('{"specversion":"1.0","id":"parked","source":"shipyard-controller","type":"sh.keptn.event.action.triggered","datacontenttype":"application/json","time":"2026-01-15T03:00:00.000Z","shkeptncontext":"context of parked","shkeptnspecversion":"0.2.4","data":{"project":"sockshop","stage":"production","service":"orders","labels":{},"action":{"name":"purge-cache","action":"purge-cache","value":{"zone":"parked"}},"problem":{"State":"OPEN","ProblemTitle":"Failure rate increase"}}}' AS BLOB),
    0,
    0
);

INSERT INTO executions (seq, id, state, lane, action, context, project, stage, service, accepted_at, started_at, runs, attempts, event, question, listed, problem_closed) VALUES (
    6,
    'asking',
    'started',
    'sockshop
production
payment',
    'set-limit',
    'context of asking',
    'sockshop',
    'production',
    'payment',
    1768446301.823,
    1768446301.844,
    0,
    0,
    CAST('{"specversion":"1.0","id":"asking","source":"shipyard-controller","type":"sh.keptn.event.action.triggered","datacontenttype":"application/json","time":"2026-01-15T03:00:00.000Z","shkeptncontext":"context of asking","shkeptnspecversion":"0.2.4","data":{"project":"sockshop","stage":"production","service":"payment","labels":{},"action":{"name":"set-limit","action":"set-limit","value":{"payment":50}},"problem":{"State":"OPEN","ProblemTitle":"Failure rate increase"}}}' AS BLOB),
    CAST('{"plan":{"changes":[{"target":"route:payment","field":"limit","before":100,"after":50}],"notes":[],"memo":{},"replicas":null},"rule":"payment asks","asked_at":1768446301.8723779,"expires_at":1768447201.8723779,"default":"deny","verdict":null,"by":null,"reason":null,"heeded":false}' AS BLOB),
    0,
    0
);

INSERT INTO executions (seq, id, state, lane, action, context, project, stage, service, accepted_at, started_at, runs, attempts, plan, event, listed, problem_closed) VALUES (
    7,
    'planned',
    'started',
    'sockshop
production
search',
    'set-limit',
    'context of planned',
    'sockshop',
    'production',
    'search',
    1768446361.956,
    1768446361.972,
    1,
    0,
    CAST('{"changes":[{"target":"route:search","field":"limit","before":20,"after":10}],"notes":[],"memo":{},"replicas":null}' AS BLOB),
    CAST('{"specversion":"1.0","id":"planned","source":"shipyard-controller","type":"sh.keptn.event.action.triggered","datacontenttype":"application/json","time":"2026-01-15T03:00:00.000Z","shkeptncontext":"context of planned","shkeptnspecversion":"0.2.4","data":{"project":"sockshop","stage":"production","service":"search","labels":{},"action":{"name":"set-limit","action":"set-limit","value":{"search":10}},"problem":{"State":"OPEN","ProblemTitle":"Failure rate increase"}}}' AS BLOB),
    0,
    0
);

INSERT INTO executions (seq, id, state, lane, action, context, project, stage, service, accepted_at, runs, attempts, event, listed, problem_closed) VALUES (
    8,
    'accepted',
    'accepted',
    'sockshop
production
search',
    'purge-cache',
    'context of accepted',
    'sockshop',
    'production',
    'search',
    1768446362.045,
    0,
    0,
    CAST('{"specversion":"1.0","id":"accepted","source":"shipyard-controller","type":"sh.keptn.event.action.triggered","datacontenttype":"application/json","time":"2026-01-15T03:00:00.000Z","shkeptncontext":"context of accepted","shkeptnspecversion":"0.2.4","data":{"project":"sockshop","stage":"production","service":"search","labels":{},"action":{"name":"purge-cache","action":"purge-cache","value":{"zone":"search"}},"problem":{"State":"OPEN","ProblemTitle":"Failure rate increase"}}}' AS BLOB),
    0,
    0
);

INSERT INTO executions (seq, id, state, lane, action, context, project, stage, service, accepted_at, started_at, finished_at, runs, attempts, status, result, message, details, event, listed, problem_closed) VALUES (
    9,
    'untold',
    'finished',
    'sockshop
production
shipping',
    'purge-cache',
    'context of untold',
    'sockshop',
    'production',
    'shipping',
    1768446422.054,
    1768446422.088,
    1768446422.096,
    1,
    1,
    'succeeded',
    'pass',
    'purged late',
    CAST('{}' AS BLOB),
    CAST('{"specversion":"1.0","id":"untold","source":"shipyard-controller","type":"sh.keptn.event.action.triggered","datacontenttype":"application/json","time":"2026-01-15T03:07:00.000Z","shkeptncontext":"context of untold","shkeptnspecversion":"0.2.4","data":{"project":"sockshop","stage":"production","service":"shipping","labels":{},"action":{"name":"purge-cache","action":"purge-cache","value":{"zone":"late"}},"problem":{"State":"OPEN","ProblemTitle":"Failure rate increase"}}}' AS BLOB),
    0,
    0
);

INSERT INTO reports (seq, execution, kind, event, state, doubtful, attempts, created_at, due_at, reason) VALUES (
    10,
    'parked',
    'started',
    CAST('{"specversion":"1.0","id":"26a08f02-cb45-5417-8f2c-c8bf2895fe0f","source":"keptn-remedy","type":"sh.keptn.event.action.started","datacontenttype":"application/json","time":"2026-01-15T03:04:00.792Z","shkeptncontext":"context of parked","triggeredid":"parked","shkeptnspecversion":"0.2.4","data":{"project":"sockshop","stage":"production","service":"orders","labels":{}}}' AS BLOB),
    'parked',
    0,
    1,
    1768446240.793,
    1768446240.793,
    'http://localhost:8081/event answered 400'
);

INSERT INTO reports (seq, execution, kind, event, state, doubtful, attempts, created_at, due_at, reason) VALUES (
    11,
    'parked',
    'finished',
    CAST('{"specversion":"1.0","id":"b84ad68f-edde-5b7d-a090-b61419035d80","source":"keptn-remedy","type":"sh.keptn.event.action.finished","datacontenttype":"application/json","time":"2026-01-15T03:04:00.799Z","shkeptncontext":"context of parked","triggeredid":"parked","shkeptnspecversion":"0.2.4","data":{"project":"sockshop","stage":"production","service":"orders","labels":{},"status":"succeeded","result":"pass","message":"purged parked","remedy":{"execution":"parked","attempts":"1"},"action":{"status":"succeeded","result":"pass"}}}' AS BLOB),
    'parked',
    0,
    1,
    1768446240.8,
    1768446240.8,
    'http://localhost:8081/event answered 400'
);

INSERT INTO reports (seq, execution, kind, event, state, doubtful, attempts, created_at, due_at, reason) VALUES (
    15,
    'untold',
    'started',
    CAST('{"specversion":"1.0","id":"34e2fd49-fdf3-58d4-9f31-d3f78c5bcf0c","source":"keptn-remedy","type":"sh.keptn.event.action.started","datacontenttype":"application/json","time":"2026-01-15T03:07:02.087Z","shkeptncontext":"context of untold","triggeredid":"untold","shkeptnspecversion":"0.2.4","data":{"project":"sockshop","stage":"production","service":"shipping","labels":{}}}' AS BLOB),
    'unsent',
    0,
    4,
    1768446422.088,
    1768446422.793,
    'Cannot connect to host localhost:8081 ssl:default [Connect call failed (''127.0.0.1'', 8081)]'
);

INSERT INTO reports (seq, execution, kind, event, state, doubtful, attempts, created_at, due_at) VALUES (
    16,
    'untold',
    'finished',
    CAST('{"specversion":"1.0","id":"15678ca0-7ba6-5218-8c8a-f0d2c264281b","source":"keptn-remedy","type":"sh.keptn.event.action.finished","datacontenttype":"application/json","time":"2026-01-15T03:07:02.095Z","shkeptncontext":"context of untold","triggeredid":"untold","shkeptnspecversion":"0.2.4","data":{"project":"sockshop","stage":"production","service":"shipping","labels":{},"status":"succeeded","result":"pass","message":"purged late","remedy":{"execution":"untold","attempts":"1"},"action":{"status":"succeeded","result":"pass"}}}' AS BLOB),
    'unsent',
    0,
    0,
    1768446422.096,
    1768446422.096
);

INSERT INTO memory (action, key, value) VALUES (
    '',
    'policy',
    CAST('"version: 1\nrules:\n  - {name: payment asks, match: {service: payment}, mode: approve}\n  - {name: baskets come back, match: {service: basket}, undo: {on_closed: true}}\n"' AS BLOB)
);

INSERT INTO memory (action, key, value) VALUES (
    'purge-cache',
    'last zone',
    CAST('{"name":"shop","purged":1}' AS BLOB)
);

INSERT INTO effects (execution, target, action, project, stage, service, context, planned, settle, leads, admitted_at, ended_at, settled_at, judged) VALUES (
    1,
    'service sockshop/production/carts',
    'purge-cache',
    'sockshop',
    'production',
    'carts',
    'context of purged',
    0,
    0.0,
    1,
    1768446000.21,
    1768446000.229,
    1768446000.229,
    'helped'
);

INSERT INTO effects (execution, target, action, project, stage, service, context, planned, settle, leads, admitted_at, ended_at, settled_at, judged) VALUES (
    2,
    'service sockshop/production/carts',
    'purge-cache',
    'sockshop',
    'production',
    'carts',
    'context of not-found',
    0,
    0.0,
    1,
    1768446060.272,
    1768446060.28,
    1768446060.28,
    'failed'
);

INSERT INTO effects (execution, target, action, project, stage, service, context, planned, settle, leads, admitted_at, ended_at, settled_at, judged) VALUES (
    3,
    'route:checkout',
    'set-limit',
    'sockshop',
    'production',
    'frontend',
    'context of undone',
    1,
    0.0,
    1,
    1768446120.349,
    1768446120.358,
    1768446120.358,
    'helped'
);

INSERT INTO effects (execution, target, action, project, stage, service, context, planned, settle, leads, admitted_at, ended_at, settled_at, judged) VALUES (
    4,
    'route:basket',
    'set-limit',
    'sockshop',
    'production',
    'basket',
    'context of armed',
    1,
    0.0,
    1,
    1768446180.763,
    1768446180.773,
    1768446180.773,
    'helped'
);

INSERT INTO effects (execution, target, action, project, stage, service, context, planned, settle, leads, admitted_at, ended_at, settled_at, judged) VALUES (
    5,
    'service sockshop/production/orders',
    'purge-cache',
    'sockshop',
    'production',
    'orders',
    'context of parked',
    0,
    0.0,
    1,
    1768446240.797,
    1768446240.8,
    1768446240.8,
    'helped'
);

INSERT INTO effects (execution, target, action, project, stage, service, context, planned, settle, leads, admitted_at) VALUES (
    7,
    'route:search',
    'set-limit',
    'sockshop',
    'production',
    'search',
    'context of planned',
    1,
    0.0,
    1,
    1768446361.99
);

INSERT INTO effects (execution, target, action, project, stage, service, context, planned, settle, leads, admitted_at, ended_at, settled_at, judged) VALUES (
    9,
    'service sockshop/production/shipping',
    'purge-cache',
    'sockshop',
    'production',
    'shipping',
    'context of untold',
    0,
    0.0,
    1,
    1768446422.088,
    1768446422.096,
    1768446422.096,
    'helped'
);

INSERT INTO undos (execution, context, state, on_closed, cause, who, reason, asked_at, ended_at, message) VALUES (
    3,
    'context of undone',
    'done',
    0,
    'an order',
    'ann',
    'the traffic is back',
    1768446120.414,
    1768446120.707,
    'undone: route:checkout limit: 3 -> 5'
);

INSERT INTO undos (execution, context, state, on_closed) VALUES (
    4,
    'context of armed',
    'armed',
    1
);

UPDATE sqlite_sequence SET seq = 16 WHERE name = 'reports';
PRAGMA user_version = 2;
