-- A run. Every table is append-only but for `schema`; what supersedes stands later.

CREATE TABLE IF NOT EXISTS about (
    name VARCHAR PRIMARY KEY,
    value VARCHAR NOT NULL
);

-- Units that were drawn from the random order of their source, whatever became of them.
CREATE TABLE IF NOT EXISTS unit (
    unit_id INTEGER PRIMARY KEY,
    source VARCHAR NOT NULL,
    idx INTEGER NOT NULL,
    sign TINYINT NOT NULL,
    ord INTEGER NOT NULL,                 -- place in the random order, from 0
    outcome VARCHAR NOT NULL,             -- eligible, dead, ultralow, dense
    density DOUBLE NOT NULL,              -- share of tokens on which it fires
    tokens BIGINT NOT NULL,               -- tokens read
    peak FLOAT NOT NULL,                  -- largest activation, in the subject's units
    interval_tokens DOUBLE[] NOT NULL,    -- tokens on which it fires, by interval
    note VARCHAR NOT NULL,
    UNIQUE (source, idx, sign)
);

CREATE TABLE IF NOT EXISTS source (
    source VARCHAR PRIMARY KEY,
    size INTEGER NOT NULL,                -- units that there are
    is_control BOOLEAN NOT NULL
);

CREATE TABLE IF NOT EXISTS context (
    context_id BIGINT PRIMARY KEY,
    unit_id INTEGER NOT NULL,
    draw VARCHAR NOT NULL,                -- top, interval, random
    interval UTINYINT,                    -- of the focus token; NULL where silent on it
    split VARCHAR NOT NULL,               -- explain, score
    silent BOOLEAN NOT NULL,              -- on every token of the window
    focus USMALLINT NOT NULL,
    document INTEGER NOT NULL,
    position INTEGER NOT NULL,
    tokens VARCHAR[] NOT NULL,
    activations FLOAT[] NOT NULL
);

-- What raters are asked about; nothing here tells what unit it is.
CREATE TABLE IF NOT EXISTS item (
    item_id VARCHAR PRIMARY KEY,
    rubric VARCHAR NOT NULL,
    rubric_digest VARCHAR NOT NULL,
    evidence VARCHAR NOT NULL,            -- shown, all
    ord BIGINT NOT NULL,                  -- shuffled over all sources
    description VARCHAR
);

-- The sealed key.
CREATE TABLE IF NOT EXISTS key (
    item_id VARCHAR PRIMARY KEY,
    unit_id INTEGER NOT NULL,
    scale FLOAT NOT NULL,                 -- the activation that is shown as 10
    contexts BIGINT[] NOT NULL            -- in the order shown
);

-- Every attempt of every call; the last one of a key is its answer.
CREATE TABLE IF NOT EXISTS call (
    call_key VARCHAR NOT NULL,
    attempt INTEGER NOT NULL,
    item_id VARCHAR NOT NULL,
    rater VARCHAR NOT NULL,
    repeat INTEGER NOT NULL,
    stop VARCHAR NOT NULL,                -- end, length, refusal, error
    reply VARCHAR NOT NULL,
    error VARCHAR,
    model VARCHAR,                        -- as returned
    tokens_in BIGINT,
    tokens_out BIGINT,
    cost_usd DOUBLE,                      -- NULL where no price is known
    latency_s DOUBLE,
    details JSON,
    made_at TIMESTAMP NOT NULL,
    PRIMARY KEY (call_key, attempt)
);

CREATE TABLE IF NOT EXISTS rating (
    item_id VARCHAR NOT NULL,
    rubric VARCHAR NOT NULL,
    rubric_digest VARCHAR NOT NULL,
    rater VARCHAR NOT NULL,
    repeat INTEGER NOT NULL,
    version INTEGER NOT NULL,             -- a later one supersedes
    status VARCHAR NOT NULL,              -- ok, unparsed, refused, failed, skipped
    score INTEGER,
    description VARCHAR,
    rationale VARCHAR,
    expected_score DOUBLE,
    unassigned_mass DOUBLE,
    call_key VARCHAR,
    made_at TIMESTAMP NOT NULL,
    PRIMARY KEY (item_id, rater, repeat, version),
    CHECK ((status = 'ok') = (score IS NOT NULL))
);

CREATE TABLE IF NOT EXISTS estimate (
    name VARCHAR NOT NULL,
    groups VARCHAR[] NOT NULL,
    rubric VARCHAR NOT NULL,
    rater VARCHAR NOT NULL,
    value DOUBLE,
    low DOUBLE,
    high DOUBLE,
    level DOUBLE NOT NULL,
    n INTEGER[] NOT NULL,
    method VARCHAR NOT NULL,
    note VARCHAR NOT NULL
);

CREATE OR REPLACE VIEW current_rating AS
SELECT * EXCLUDE (place) FROM (
    SELECT *, row_number() OVER (
        PARTITION BY item_id, rater, repeat ORDER BY version DESC
    ) AS place FROM rating
) WHERE place = 1;
