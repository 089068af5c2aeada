-- A run. Every table is append-only but for `about`, `state`, `lab`, `match`,
-- `concept`, `firing`, `map_point` and `cover`; what supersedes stands later.

CREATE TABLE IF NOT EXISTS about (
    name VARCHAR PRIMARY KEY,
    value VARCHAR NOT NULL
);

-- What the store keeps of itself: transactions made, replies taken in, schema, a copy of run.toml.
CREATE TABLE IF NOT EXISTS state (
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
    density DOUBLE,                       -- share of tokens on which it fires; NULL if unknown
    tokens BIGINT NOT NULL,               -- tokens read; 0 if a file does not say
    peak FLOAT NOT NULL,                  -- largest activation, in the subject's units
    interval_tokens DOUBLE[] NOT NULL,    -- tokens on which it fires, by interval
    note VARCHAR NOT NULL,
    UNIQUE (source, idx, sign)
);

CREATE TABLE IF NOT EXISTS source (
    source VARCHAR PRIMARY KEY,
    size INTEGER NOT NULL,                -- units that there are
    is_control BOOLEAN NOT NULL,
    role VARCHAR,                         -- studied, ceiling, floor, control; NULL in an old run
    one VARCHAR,                          -- in a sentence: a feature
    several VARCHAR,                      -- features
    colour VARCHAR                        -- in pictures; empty for one that the picture chooses
);
ALTER TABLE source ADD COLUMN IF NOT EXISTS role VARCHAR;
ALTER TABLE source ADD COLUMN IF NOT EXISTS one VARCHAR;
ALTER TABLE source ADD COLUMN IF NOT EXISTS several VARCHAR;
ALTER TABLE source ADD COLUMN IF NOT EXISTS colour VARCHAR;

-- Files that units came from, where they were not harvested.
CREATE TABLE IF NOT EXISTS imported (
    digest VARCHAR PRIMARY KEY,           -- of content, form and options
    file VARCHAR NOT NULL,
    sha256 VARCHAR NOT NULL,
    form VARCHAR NOT NULL,
    options JSON NOT NULL,
    units INTEGER NOT NULL,
    contexts BIGINT NOT NULL,
    notes VARCHAR[] NOT NULL,             -- what a report is to say of it
    made_at TIMESTAMP NOT NULL
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

-- Whether a unit is silent on every token of a context of another unit, as computed; false, too,
-- where the context could not be read again.
CREATE TABLE IF NOT EXISTS silence (
    context_id BIGINT NOT NULL,
    unit_id INTEGER NOT NULL,
    silent BOOLEAN NOT NULL,
    PRIMARY KEY (context_id, unit_id)
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

-- Rubrics as they were when items were made with them.
CREATE TABLE IF NOT EXISTS rubric (
    digest VARCHAR PRIMARY KEY,
    id VARCHAR NOT NULL,
    content JSON NOT NULL                 -- all of it: scale, what it shows, text
);

-- Raters other than people, as they were when they rated.
CREATE TABLE IF NOT EXISTS rater (
    rater VARCHAR PRIMARY KEY,            -- as in ratings
    is_llm BOOLEAN NOT NULL
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

-- What calls without a reply may have cost at most: cut off, timed out, or sent before a kill.
CREATE TABLE IF NOT EXISTS charge (
    journal VARCHAR NOT NULL,             -- of replies, in which it was reserved; or "batch LABEL"
    seq BIGINT NOT NULL,                  -- record of the sending, or place in the batch
    rater VARCHAR NOT NULL,
    call_key VARCHAR NOT NULL,
    usd DOUBLE NOT NULL,
    made_at TIMESTAMP NOT NULL,
    PRIMARY KEY (journal, seq)
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
    rater_version VARCHAR,                -- of its rules, weights or model file; NULL if not kept
    CHECK ((status = 'ok') = (score IS NOT NULL))
);
ALTER TABLE rating ADD COLUMN IF NOT EXISTS rater_version VARCHAR;

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

-- ------------------------------------------------------------------------------------ people

-- Sessions and packs that this run gave out; answers to any other are refused.
CREATE TABLE IF NOT EXISTS human_session (
    session_id VARCHAR PRIMARY KEY,       -- digest of all that it holds
    is_pack BOOLEAN NOT NULL,
    rater VARCHAR,                        -- NULL for a pack
    rubric VARCHAR NOT NULL,
    rubric_digest VARCHAR NOT NULL,
    contexts INTEGER NOT NULL,            -- that every item shows
    to_rate INTEGER NOT NULL,
    gold INTEGER NOT NULL,                -- of those, control units
    left_out JSON NOT NULL,               -- items with fewer contexts, by source
    made_at TIMESTAMP NOT NULL
);

-- Packs call items by random names: an item's own name could be guessed back to its unit.
CREATE TABLE IF NOT EXISTS pack_item (
    session_id VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    item_id VARCHAR NOT NULL,
    PRIMARY KEY (session_id, name)
);

-- Every entry of every journal, practice and times included.
CREATE TABLE IF NOT EXISTS human_answer (
    session_id VARCHAR NOT NULL,
    rater VARCHAR NOT NULL,
    seq INTEGER NOT NULL,
    kind VARCHAR NOT NULL,                -- training, rating, guess
    verb VARCHAR NOT NULL,                -- score, skip, guess, describe, undo, widen, decline, consent
    item_id VARCHAR NOT NULL,
    repeat INTEGER NOT NULL,
    score INTEGER,
    text VARCHAR,
    seconds DOUBLE NOT NULL,              -- without pauses
    answered_at VARCHAR NOT NULL,         -- by the rater's clock
    chain VARCHAR NOT NULL,
    PRIMARY KEY (session_id, rater, seq)
);

-- The blinding check: what a rater took an item for.
CREATE TABLE IF NOT EXISTS guess (
    item_id VARCHAR NOT NULL,
    rater VARCHAR NOT NULL,
    version INTEGER NOT NULL,             -- a later one supersedes
    guess VARCHAR,                        -- feature, neuron, control, unknown; NULL if taken back
    made_at TIMESTAMP NOT NULL,
    PRIMARY KEY (item_id, rater, version)
);

-- What people should rate next to calibrate a rater: a random subset of known probabilities.
CREATE TABLE IF NOT EXISTS human_plan (
    plan INTEGER NOT NULL,                -- the last one counts
    item_id VARCHAR NOT NULL,
    rubric VARCHAR NOT NULL,
    rubric_digest VARCHAR NOT NULL,
    rater VARCHAR NOT NULL,               -- that is to be calibrated
    source VARCHAR NOT NULL,              -- the stratum is source and score
    score INTEGER NOT NULL,
    stratum_size INTEGER NOT NULL,
    stratum_drawn INTEGER NOT NULL,
    inclusion DOUBLE NOT NULL,            -- probability with which it was drawn
    made_at TIMESTAMP NOT NULL,
    drawn_by VARCHAR,                     -- score (within strata), uncertainty; NULL in an old run
    uncertainty DOUBLE,                   -- the rater's on the unit; then the stratum is the source
    contexts INTEGER,                     -- that every item drawn has at least; NULL in an old run
    PRIMARY KEY (plan, item_id)
);
ALTER TABLE human_plan ADD COLUMN IF NOT EXISTS drawn_by VARCHAR;
ALTER TABLE human_plan ADD COLUMN IF NOT EXISTS uncertainty DOUBLE;
ALTER TABLE human_plan ADD COLUMN IF NOT EXISTS contexts INTEGER;

-- ------------------------------------------------------------------------------------ batches

-- Work handed to a provider's batch API; written before it is sent, so that none is sent twice.
CREATE TABLE IF NOT EXISTS batch (
    label VARCHAR NOT NULL,               -- ours; OpenAI keeps it as metadata
    version INTEGER NOT NULL,             -- a later one supersedes
    state VARCHAR NOT NULL,               -- intended, submitted, collected, abandoned
    provider_id VARCHAR,                  -- NULL until it is known to have arrived
    rater VARCHAR NOT NULL,               -- as in ratings
    asked VARCHAR NOT NULL,               -- as on the command line
    options JSON NOT NULL,
    rubric VARCHAR NOT NULL,              -- id, or path of the file
    rubric_digest VARCHAR NOT NULL,
    calls INTEGER NOT NULL,
    most_usd DOUBLE,                      -- the most it can cost; NULL where no price is known
    made_at TIMESTAMP NOT NULL,
    PRIMARY KEY (label, version)
);

CREATE TABLE IF NOT EXISTS batch_call (
    label VARCHAR NOT NULL,
    call_key VARCHAR NOT NULL,
    item_id VARCHAR NOT NULL,
    repeat INTEGER NOT NULL,
    PRIMARY KEY (label, call_key)
);

-- -------------------------------------------------- explanations and what they are worth (#7)

-- What raters are asked of one unit beside its rating: to describe it, or whether a description
-- holds. Kept out of `item` and `key`: an answer to it is no rating of the unit.
CREATE TABLE IF NOT EXISTS probe (
    item_id VARCHAR PRIMARY KEY,          -- opaque; digest of all that follows
    task VARCHAR NOT NULL,                -- explain, explain-logits, a scorer, or a rubric about a description
    task_digest VARCHAR NOT NULL,
    design VARCHAR NOT NULL,              -- how contexts were chosen; results are kept apart by it
    unit_id INTEGER NOT NULL,             -- whose firing is asked about
    explainer VARCHAR,                    -- who wrote the description; NULL if none is shown
    described INTEGER,                    -- the unit it was written for; another one: permuted
    description VARCHAR,
    permuted BOOLEAN NOT NULL,            -- a control: right answers are chance
    scale FLOAT NOT NULL,                 -- the activation that is 10
    contexts BIGINT[] NOT NULL,           -- in the order shown
    firsts INTEGER[] NOT NULL,           -- first token shown of each
    lasts INTEGER[] NOT NULL,            -- one past the last
    marks INTEGER[] NOT NULL,            -- token that is marked, counted in the window as stored; -1 for none
    truths BOOLEAN[] NOT NULL,            -- the right answer for each; NULL where it is a number
    kinds VARCHAR[] NOT NULL,             -- firing, silent, other, same token, neighbour, …
    made_at TIMESTAMP NOT NULL,
    promoted VARCHAR[],                   -- the unit's logit effects; NULL where none are shown
    suppressed VARCHAR[],
    owners INTEGER[],                     -- unit that each truth is about; NULL where all are unit_id's
    candidates INTEGER[],                 -- units whose descriptions are tried on every context, in the
    candidate_texts VARCHAR[]             --   order shown, and these; NULL where `description` is the one
);
ALTER TABLE probe ADD COLUMN IF NOT EXISTS promoted VARCHAR[];
ALTER TABLE probe ADD COLUMN IF NOT EXISTS suppressed VARCHAR[];
ALTER TABLE probe ADD COLUMN IF NOT EXISTS owners INTEGER[];
ALTER TABLE probe ADD COLUMN IF NOT EXISTS candidates INTEGER[];
ALTER TABLE probe ADD COLUMN IF NOT EXISTS candidate_texts VARCHAR[];

-- Texts that raters are asked about and that are no contexts of the corpus: tokens of the vocabulary,
-- what the subject wrote while a unit was clamped, what a model wrote to a description.
CREATE TABLE IF NOT EXISTS passage (
    context_id BIGINT PRIMARY KEY,        -- below 0; a digest of the tokens, so equal texts are one
    tokens VARCHAR[] NOT NULL,
    made_at TIMESTAMP NOT NULL
);

-- How strongly units fire on passages, as the run's model reads them.
CREATE TABLE IF NOT EXISTS response (
    context_id BIGINT NOT NULL,           -- of the passage
    unit_id INTEGER NOT NULL,
    activations FLOAT[] NOT NULL,         -- one a token of the passage, in the subject's units
    PRIMARY KEY (context_id, unit_id)
);

-- Units that a scorer has no questions about, and why: their own outcome, never dropped.
CREATE TABLE IF NOT EXISTS unprobed (
    task VARCHAR NOT NULL,
    design VARCHAR NOT NULL,
    unit_id INTEGER NOT NULL,
    outcome VARCHAR NOT NULL,             -- too few silent contexts, …
    PRIMARY KEY (task, design, unit_id)
);

-- ------------------------------------------------------------------------------------- labs

-- What labs measured; a lab that measures units anew replaces its rows of them.
CREATE TABLE IF NOT EXISTS lab (
    lab VARCHAR NOT NULL,                 -- its name on the command line
    unit_id INTEGER NOT NULL,
    place INTEGER NOT NULL,               -- of the row among those that the lab gave
    row VARCHAR NOT NULL,                 -- JSON: the lab's columns by name
    made_at TIMESTAMP NOT NULL
);

-- Units that a lab has measured, with rows or without; it goes on with the others.
CREATE TABLE IF NOT EXISTS lab_unit (
    lab VARCHAR NOT NULL,
    unit_id INTEGER NOT NULL,
    design VARCHAR NOT NULL,              -- digest of its file, its options and what it compared
    made_at TIMESTAMP NOT NULL,
    PRIMARY KEY (lab, unit_id)
);

-- What `attribute` has computed and not yet finished; the same command goes on from it.
CREATE TABLE IF NOT EXISTS ablated (
    design VARCHAR NOT NULL,              -- digest of the lab's file and the options
    source VARCHAR NOT NULL,
    number INTEGER NOT NULL,              -- of the unit in its source
    position INTEGER NOT NULL,            -- of the token, from 0, BOS included
    difference DOUBLE NOT NULL            -- of the two logits with the unit at 0 there
);

-- What `attribute` found of a source; asking the same again replaces it.
CREATE TABLE IF NOT EXISTS attributed (
    question VARCHAR NOT NULL,            -- digest of the prompt's tokens and the two that are compared
    source VARCHAR NOT NULL,
    prompt VARCHAR NOT NULL,
    target VARCHAR NOT NULL,              -- token whose logit counts
    against VARCHAR NOT NULL,             -- token whose logit is taken from it
    active INTEGER NOT NULL,              -- rows in attributed_unit: active units, by position
    pearson DOUBLE,                       -- of attribution and ablation; NULL for fewer than 3 rows,
    spearman DOUBLE,                      -- or where either does not vary
    made_at TIMESTAMP NOT NULL,
    PRIMARY KEY (question, source)
);

-- Every active unit at every position of such a prompt, whether the run has harvested it or not.
CREATE TABLE IF NOT EXISTS attributed_unit (
    question VARCHAR NOT NULL,            -- as in attributed
    source VARCHAR NOT NULL,
    unit VARCHAR NOT NULL,                -- features/12
    position INTEGER NOT NULL,            -- of the token, from 0, BOS included
    token VARCHAR NOT NULL,
    activation DOUBLE NOT NULL,           -- in the subject's units
    attribution DOUBLE NOT NULL,          -- activation x gradient of the logit difference
    ablation DOUBLE NOT NULL,             -- logit difference less that with the unit at 0 there
    attribution_rank INTEGER NOT NULL,    -- in its source, by size without sign, from 1
    ablation_rank INTEGER NOT NULL
);

-- Nearest dictionary vectors in another run; matching the same two anew replaces them.
CREATE TABLE IF NOT EXISTS match (
    other VARCHAR NOT NULL,               -- the other run
    other_sae VARCHAR NOT NULL,           -- sha256 of its SAE
    idx INTEGER NOT NULL,                 -- of this run's features
    cosine FLOAT NOT NULL,                -- with the nearest vector of the other dictionary
    nearest INTEGER NOT NULL,             -- that one's index
    partner_cosine FLOAT,                 -- with the one-to-one partner; NULL where it has none
    partner INTEGER,
    is_exact BOOLEAN NOT NULL,            -- whether all pairs were tried for the one-to-one matching
    made_at TIMESTAMP NOT NULL,
    PRIMARY KEY (other, idx)
);

-- What a match found of this run's features together; shares and medians leave dead ones out.
CREATE TABLE IF NOT EXISTS match_side (
    other VARCHAR PRIMARY KEY,            -- the other run
    other_sae VARCHAR NOT NULL,           -- sha256 of its SAE
    features INTEGER NOT NULL,            -- of this run
    directed INTEGER NOT NULL,            -- those whose vector is not 0
    counted INTEGER NOT NULL,             -- those whose firing the run had counted
    dead INTEGER NOT NULL,                -- those that fired on fewer than 10 tokens
    related DOUBLE NOT NULL,              -- cosine from which two features are relatives
    share_related DOUBLE,                 -- features with a relative in the other run, 0 to 1
    share_related_one_to_one DOUBLE,      -- with a one-to-one partner that is a relative
    median DOUBLE,                        -- cosine with the nearest vector of the other run
    median_one_to_one DOUBLE,             -- cosine with the one-to-one partner
    chance_median DOUBLE NOT NULL,        -- largest cosine of random directions with the other run
    chance_99 DOUBLE NOT NULL,            -- what 99 of 100 random directions stay under
    splits INTEGER NOT NULL,              -- features with several relatives whose nearest they are
    is_exact BOOLEAN NOT NULL,            -- whether all pairs were tried for the one-to-one matching
    made_at TIMESTAMP NOT NULL
);

-- Whether features that are more similar to one of the other run score higher: a look at ratings.
CREATE TABLE IF NOT EXISTS match_score (
    other VARCHAR NOT NULL,
    rubric VARCHAR NOT NULL,
    rater VARCHAR NOT NULL,
    n INTEGER NOT NULL,                   -- features that have a score
    median DOUBLE NOT NULL,               -- their cosine; those over it are the more similar ones
    look INTEGER,                         -- number in the ledger; NULL where nothing was compared
    higher STRUCT(value DOUBLE, low DOUBLE, high DOUBLE, n BIGINT[], "method" VARCHAR,
        "level" DOUBLE, note VARCHAR) NOT NULL, -- P(a more similar one scores higher)
    rho STRUCT(value DOUBLE, low DOUBLE, high DOUBLE, n BIGINT[], "method" VARCHAR,
        "level" DOUBLE, note VARCHAR) NOT NULL  -- Spearman's, of score and cosine
);

-- Which unit, or which few, know a labelled concept; measuring the same labels anew replaces them.
CREATE TABLE IF NOT EXISTS concept (
    labels VARCHAR NOT NULL,              -- sha256 of what the labels are made by
    concept VARCHAR NOT NULL,
    source VARCHAR NOT NULL,
    picked VARCHAR NOT NULL,              -- by auroc or f1 of single units, or by a probe
    k INTEGER NOT NULL,                   -- units that it may use
    units VARCHAR[] NOT NULL,             -- features/12; of a probe the one that matters most first
    search DOUBLE,                        -- AUROC or F1 where units were searched; NULL of a probe
    auroc DOUBLE,                         -- on held-out text, 0 to 1; NULL where picked by F1
    low DOUBLE,                           -- 95 % interval of it, over documents; NULL if unknown
    high DOUBLE,
    error DOUBLE,                         -- by how much binning can have moved it
    f1 DOUBLE,                            -- on held-out text, 0 to 1; NULL where picked by AUROC
    threshold DOUBLE,                     -- activation above which it is called, subject's units
    tokens_with BIGINT NOT NULL,          -- held-out tokens that have the label
    tokens_labelled BIGINT NOT NULL,      -- held-out tokens that are labelled with it or without
    made_at TIMESTAMP NOT NULL,
    PRIMARY KEY (labels, concept, source, picked, k)
);

-- Where directions of units lie on a map, and what lies near them; one layout for each digest.
CREATE TABLE IF NOT EXISTS map_point (
    digest VARCHAR NOT NULL,              -- of directions and parameters
    place INTEGER NOT NULL,               -- of the point in its layout, from 0
    source VARCHAR NOT NULL,
    idx INTEGER NOT NULL,
    sign TINYINT NOT NULL,
    x FLOAT NOT NULL,
    y FLOAT NOT NULL,
    near INTEGER[] NOT NULL,              -- places of the nearest directions, nearest first
    cosines FLOAT[] NOT NULL,             -- theirs
    is_exact BOOLEAN NOT NULL,            -- whether all pairs were compared to find them
    made_at TIMESTAMP NOT NULL,
    PRIMARY KEY (digest, place)
);

-- What a map says of each source on it; laying out the same directions anew replaces it.
CREATE TABLE IF NOT EXISTS map_source (
    digest VARCHAR NOT NULL,              -- of directions and parameters, as in map_point
    place INTEGER NOT NULL,               -- of the source among those of the map, from 0
    source VARCHAR NOT NULL,
    units INTEGER NOT NULL,               -- on the map
    without INTEGER NOT NULL,             -- whose direction is 0
    median DOUBLE NOT NULL,               -- cosine with the nearest other unit, of any source
    near_own DOUBLE NOT NULL,             -- share of units whose nearest is of their own source
    mixed DOUBLE NOT NULL,                -- what that share would be if sources were mixed
    kept DOUBLE NOT NULL,                 -- mean share of nearest units that are nearest on the map
    neighbours INTEGER NOT NULL,          -- of a unit, by which the map was made
    seed BIGINT NOT NULL,
    made_at TIMESTAMP NOT NULL,
    PRIMARY KEY (digest, place)
);

-- Concepts that a rater was asked about, those on which no unit fires included.
CREATE TABLE IF NOT EXISTS cover_concept (
    concept VARCHAR NOT NULL,
    source VARCHAR NOT NULL,
    rater VARCHAR NOT NULL,
    prompts VARCHAR[] NOT NULL,
    occurrences BIGINT NOT NULL,          -- in the harvest's part of the corpus
    tokens BIGINT NOT NULL,               -- of that part
    made_at TIMESTAMP NOT NULL,
    PRIMARY KEY (concept, source, rater)
);

-- What was said of concepts and units; the same rater on the same concept replaces it.
CREATE TABLE IF NOT EXISTS cover (
    concept VARCHAR NOT NULL,
    source VARCHAR NOT NULL,
    rater VARCHAR NOT NULL,
    kind VARCHAR NOT NULL,                -- strongest on the concept, or random
    place INTEGER NOT NULL,               -- among the concept's units of that kind, from 1
    idx INTEGER NOT NULL,
    sign TINYINT NOT NULL,
    activation DOUBLE NOT NULL,           -- mean over prompts, at the concept's last token
    description VARCHAR,
    status VARCHAR NOT NULL,              -- of the judgement: ok, unparsed, …; missing
    is_main BOOLEAN,                      -- whether the concept is the unit's main thing
    occurrences BIGINT NOT NULL,          -- of the concept in the harvest's part of the corpus
    tokens BIGINT NOT NULL,               -- of that part
    made_at TIMESTAMP NOT NULL
);

-- Units that were harvested by name, beside the random sample, and never count as drawn.
CREATE TABLE IF NOT EXISTS aside (
    source VARCHAR NOT NULL,
    idx INTEGER NOT NULL,
    sign TINYINT NOT NULL,
    peak FLOAT NOT NULL,
    density DOUBLE,
    made_at TIMESTAMP NOT NULL,
    PRIMARY KEY (source, idx, sign)
);

CREATE TABLE IF NOT EXISTS aside_context (
    source VARCHAR NOT NULL,
    idx INTEGER NOT NULL,
    sign TINYINT NOT NULL,
    place INTEGER NOT NULL,               -- strongest first
    draw VARCHAR NOT NULL,
    interval UTINYINT,
    focus USMALLINT NOT NULL,
    document INTEGER NOT NULL,
    position INTEGER NOT NULL,
    tokens VARCHAR[] NOT NULL,
    activations FLOAT[] NOT NULL,
    PRIMARY KEY (source, idx, sign, place)
);

-- On how many of the run's tokens units fire, in the sample or not; counting anew replaces them.
CREATE TABLE IF NOT EXISTS firing (
    source VARCHAR NOT NULL,
    idx INTEGER NOT NULL,
    sign TINYINT NOT NULL,
    fires BIGINT NOT NULL,
    tokens BIGINT NOT NULL,               -- that were read
    PRIMARY KEY (source, idx, sign)
);

-- ------------------------------------------------------------------------------------ looks

-- What was declared before the first rating; the last one counts.
CREATE TABLE IF NOT EXISTS plan (
    plan INTEGER PRIMARY KEY,
    digest VARCHAR NOT NULL,              -- sha256 of the canonical JSON of content and made_at
    made_at VARCHAR NOT NULL,             -- UTC, as in the digest
    content JSON NOT NULL
);

-- Each time that two sources were compared on ratings that nobody had compared before.
CREATE TABLE IF NOT EXISTS look (
    look BIGINT PRIMARY KEY,
    made_at TIMESTAMP NOT NULL,
    verb VARCHAR NOT NULL,                -- report, compare, rate, …
    rubric VARCHAR NOT NULL,
    rubric_digest VARCHAR NOT NULL,
    rater VARCHAR NOT NULL,
    first VARCHAR NOT NULL,
    second VARCHAR NOT NULL,
    number INTEGER NOT NULL,              -- of this rater's looks at this pair, from 1
    n INTEGER[] NOT NULL,                 -- scored units of each
    asked INTEGER[] NOT NULL,             -- units of each that the rater was asked about
    value DOUBLE NOT NULL,                -- P(first > second), ties halved
    low DOUBLE,
    high DOUBLE,
    p DOUBLE,                             -- as this look may read it, before Holm
    level DOUBLE NOT NULL,
    method VARCHAR NOT NULL,              -- of the interval
    rule VARCHAR NOT NULL,                -- fixed, width, clear, undeclared
    stopped BOOLEAN NOT NULL,             -- whether the rule let this look be the last
    stopping VARCHAR,                     -- the rule that `rate` followed, in words; else NULL
    digest VARCHAR NOT NULL,              -- of the scores that were compared
    plan VARCHAR                          -- digest of the plan; NULL where there was none
);
