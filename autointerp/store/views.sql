-- Questions that are asked of a run again and again. Made at every open of a run that can be
-- written; for one that cannot, those that its file lacks are made for the connection.

CREATE OR REPLACE MACRO is_person(rater) AS rater = 'human' OR starts_with(rater, 'human:');

-- As in features/12, and neurons/5- for the negative half of a signed one.
CREATE OR REPLACE MACRO unit_name(source, idx, sign) AS
    source || '/' || idx || CASE WHEN sign < 0 THEN '-' ELSE '' END;

-- The same, but an imported unit that has a name keeps it; its note begins with that: called 'mean'.
CREATE OR REPLACE MACRO unit_label(source, idx, sign, note) AS
    source || '/' || coalesce(
        nullif(regexp_extract(note, '(?s)^called ''(.+?)''(?:; |$)', 1), ''),
        idx || CASE WHEN sign < 0 THEN '-' ELSE '' END
    );

CREATE OR REPLACE VIEW current_rating AS
SELECT * EXCLUDE (place) FROM (
    SELECT *, row_number() OVER (
        PARTITION BY item_id, rater, repeat ORDER BY version DESC
    ) AS place FROM rating
) WHERE place = 1;

CREATE OR REPLACE VIEW current_guess AS
SELECT item_id, rater, guess, made_at FROM guess
QUALIFY row_number() OVER (PARTITION BY item_id, rater ORDER BY version DESC) = 1
AND guess IS NOT NULL;

CREATE OR REPLACE VIEW current_batch AS
SELECT * FROM batch QUALIFY row_number() OVER (PARTITION BY label ORDER BY version DESC) = 1;

-- Items with the unit that they show: the key, opened.
CREATE OR REPLACE VIEW unit_item AS
SELECT i.*, k.unit_id, k.scale, k.contexts, unit_label(u.source, u.idx, u.sign, u.note) AS unit,
    u.source, u.idx, u.sign, s.is_control
FROM item i JOIN key k USING (item_id) JOIN unit u USING (unit_id)
JOIN source s ON s.source = u.source;

-- The latest version of each rating, with its unit.
CREATE OR REPLACE VIEW unit_rating AS
SELECT r.*, i.unit_id, i.unit, i.source, i.idx, i.sign, i.is_control
FROM current_rating r JOIN unit_item i USING (item_id);

-- One row per rating for people and other tools; what its call cost is summed over the attempts.
CREATE OR REPLACE VIEW rating_table AS
SELECT
    r.unit,
    r.source,
    r.idx AS index,
    r.sign,
    r.is_control,
    r.item_id AS item,
    r.rubric,
    r.rubric_digest,
    r.rater,
    r.repeat,
    r.rater_version,
    r.status,
    r.score,
    r.expected_score,
    r.unassigned_mass,
    r.description,
    r.rationale,
    u.density,
    u.peak,
    u.note AS unit_note,
    c.model,
    c.attempts,
    c.tokens_in,
    c.tokens_out,
    c.cost_usd,
    r.made_at
FROM unit_rating r
JOIN unit u USING (unit_id)
LEFT JOIN (
    SELECT
        call_key,
        count(*) AS attempts,
        arg_max(model, attempt) AS model,
        sum(tokens_in)::BIGINT AS tokens_in,
        sum(tokens_out)::BIGINT AS tokens_out,
        sum(cost_usd) AS cost_usd
    FROM call GROUP BY call_key
) c ON c.call_key = r.call_key;

-- What each rater took each item for, with its unit.
CREATE OR REPLACE VIEW unit_guess AS
SELECT g.*, i.rubric, i.rubric_digest, i.unit_id, i.unit, i.source, i.idx, i.sign, i.is_control
FROM current_guess g JOIN unit_item i USING (item_id);

-- Who was asked with logit effects is called so, and is another explainer than who was not.
CREATE OR REPLACE VIEW explanation AS
SELECT p.unit_id, r.rater || CASE p.task WHEN 'explain-logits' THEN '+logits' ELSE '' END
    AS explainer, r.status, r.description, r.rationale, p.contexts,
    r.call_key, r.made_at, p.task, p.promoted, p.suppressed
FROM probe p JOIN current_rating r USING (item_id)
WHERE p.task IN ('explain', 'explain-logits') AND r.repeat = 0
QUALIFY row_number() OVER (PARTITION BY p.unit_id, p.task, r.rater ORDER BY r.made_at DESC) = 1;
