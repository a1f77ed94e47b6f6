//! The tables, their version and its history.
//!
//! | format | since | what changed |
//! |---|---|---|
//! | 1 | 0.1.0 | first |
//! | 2 | 0.1.0 | `target.settled_task`, `target.failed_tasks`: what became of tasks of accepted purges; `inputs`: what was compared; `target_work`; `stat_cache` |
//! | 3 | 0.1.0 | `inputs` anew, with `input_file`: what was compared, file by file |
//! | 4 | 0.1.0 | `manifest.root`, `manifest.namespace`, `manifest.links`: where a manifest is, wherever it is read from; a row for each owner of a target; `target.progress`, what guards let through; `target.waits`, how often a host was waited for; `target.may_have_been_purged`; `target.left_alone`, until then the beginning of a hash; `directory_refusal`; `cache_address` and `cache_removal`, what caches lack that are away; `quota.offset_minutes`, when a day begins; `provider_quota`, what each provider may purge a day; `call.content` and `call.purge`, by which a purge is repeated; `refusal`, `seen_removal`, `run.refused` and `run.times`, what guards refuse; `run.waiting`, and `waiting` as a standing; `proof` and `proof_due`, what edges have yet to show and what they showed, with `run.verified`, `run.stale`, `run.unverified`, `run.probes` and `run.probe_bytes`, and `stale` as a kind of work; `vary`, by what answers vary; `purged_removal`, what was purged of what is gone; sums of all rows in `meta` |
//!
//! A new state is made as format 1 and goes the way of every older one, so that both have the same tables.

use rusqlite::Connection;

/// Newest format that this program reads and writes.
pub(super) const FORMAT: i64 = MIGRATIONS[MIGRATIONS.len() - 1].0;

/// Marks a SQLite file as a state of ours: the bytes `frsh`.
pub(super) const APPLICATION_ID: i32 = 0x6672_7368;

/// Whether work is left must not cost a look at every target.
const WORK_INDEX: &str = "CREATE INDEX IF NOT EXISTS target_work ON target (work_kind) WHERE work_kind IS NOT NULL";

/// What spares reading the unchanged files of a directory; its absolute path, without links. `rules` and `content` are the
/// reader's own; what cannot be used there is as good as nothing.
const STAT_CACHE: &str = "CREATE TABLE IF NOT EXISTS stat_cache (
             directory TEXT NOT NULL,
             rules BLOB NOT NULL,
             content BLOB NOT NULL,
             PRIMARY KEY (directory, rules)
         ) STRICT, WITHOUT ROWID";

/// The format that grew while it was made, and what its first states lack.
const GREW: i64 = 2;
const LATER_OF_GREW: [&str; 3] = ["inputs", "target_work", "stat_cache"];

/// Formats after the first, in order, with the statements that lead there from the one before.
pub(super) const MIGRATIONS: &[(i64, &[&str])] = &[
    (
        2,
        &[
            // The task_id that the provider called done; null, or another than task_id: not known to be done.
            "ALTER TABLE target ADD COLUMN settled_task TEXT",
            // What the last run compared: one row at most, gone as soon as it does not hold any more.
            "CREATE TABLE inputs (
            digest TEXT NOT NULL,
            manifests INTEGER NOT NULL,
            targets INTEGER NOT NULL,
            providers TEXT NOT NULL     -- JSON list of name and kind, in turn
        ) STRICT",
            WORK_INDEX,
            // Tasks that failed one after another.
            "ALTER TABLE target ADD COLUMN failed_tasks INTEGER NOT NULL DEFAULT 0",
            STAT_CACHE,
        ],
    ),
    (
        3,
        &[
            WORK_INDEX,
            STAT_CACHE,
            // What was noted is only ever a short cut, so it may go.
            "DROP TABLE IF EXISTS inputs",
            // What the last run compared: one row at most, gone as soon as it does not hold any more.
            "CREATE TABLE inputs (
             digest TEXT NOT NULL,
             frame TEXT NOT NULL,
             configuration TEXT NOT NULL,
             targets INTEGER NOT NULL,
             providers TEXT NOT NULL     -- JSON list of name and kind, in turn
         ) STRICT",
            // The files of it; of no meaning without a row there.
            "CREATE TABLE input_file (
             path TEXT PRIMARY KEY,
             digest TEXT NOT NULL,
             targets INTEGER NOT NULL,
             is_simple INTEGER NOT NULL
         ) STRICT, WITHOUT ROWID",
        ],
    ),
    (
        4,
        &[
            // The root of the tree that `path` is below; null: `path` is as an older program saw it from somewhere.
            "ALTER TABLE manifest ADD COLUMN root TEXT",
            "ALTER TABLE manifest ADD COLUMN namespace TEXT",
            // JSON list of the absolute paths that links led from to it.
            "ALTER TABLE manifest ADD COLUMN links TEXT NOT NULL DEFAULT '[]'",
            // Runs that were refused or cut short noted owners and not their manifests: nobody could speak for those.
            "INSERT INTO manifest (name, path, on_removed)
             SELECT DISTINCT value, value, 'purge' FROM target, json_each(owners) WHERE true
             ON CONFLICT (name) DO NOTHING",
            // How far work has come with its present content: seen, admitted, tried.
            "ALTER TABLE target ADD COLUMN progress TEXT",
            // How many times in a row deferred work waited for its host; null: it waits for a quota.
            "ALTER TABLE target ADD COLUMN waits INTEGER",
            // Until then a reason began like this where it was about other content.
            "UPDATE target SET progress = CASE
                 WHEN standing = 'pending' AND reason IS NOT NULL AND reason NOT LIKE 'before it changed again: %'
                     THEN 'tried'
                 WHEN standing <> 'pending' OR desired IS NULL THEN 'admitted'
                 ELSE 'seen' END
             WHERE work_kind IS NOT NULL",
            "UPDATE target SET reason = substr(reason, length('before it changed again: ') + 1)
             WHERE work_kind IS NOT NULL AND reason LIKE 'before it changed again: %'",
            // A call that ended since the target was recorded last was carried out, or may have been. Older programs noted failures
            // as reasons, and left the reason out only of what had not failed.
            "ALTER TABLE target ADD COLUMN may_have_been_purged INTEGER NOT NULL DEFAULT 0",
            "UPDATE target SET may_have_been_purged = 1
             WHERE work_kind IS NOT NULL AND (reason IS NOT NULL OR accepted_at <> '[]' OR desired IS NULL)",
            // A run left it alone, as no manifest configured its provider. Until then its hash began like this, a whole one behind.
            "ALTER TABLE target ADD COLUMN left_alone INTEGER NOT NULL DEFAULT 0",
            "UPDATE target SET left_alone = 1, hash = substr(hash, length('rev:left-alone:') + 1)
             WHERE hash GLOB 'rev:left-alone:*:*'",
            // Which providers may purge URLs and no directories, on which grounds, and until when that is not asked again.
            "CREATE TABLE directory_refusal (
             provider TEXT PRIMARY KEY,
             config TEXT NOT NULL,
             until INTEGER NOT NULL
         ) STRICT, WITHOUT ROWID",
            // Caches that are listed, or were lately, and addresses of their names; what is recorded since `away_since` those lack,
            // null: nothing.
            "CREATE TABLE cache_address (
             provider TEXT NOT NULL,
             endpoint TEXT NOT NULL,
             host TEXT NOT NULL,
             address TEXT NOT NULL,
             seen_at INTEGER NOT NULL,
             away_since INTEGER,
             PRIMARY KEY (provider, endpoint, address)
         ) STRICT, WITHOUT ROWID",
            // Removed targets that were purged while any of those was away.
            "CREATE TABLE cache_removal (
             provider TEXT NOT NULL,
             scope INTEGER NOT NULL,
             target TEXT NOT NULL,
             at INTEGER NOT NULL,
             PRIMARY KEY (provider, scope, target)
         ) STRICT, WITHOUT ROWID",
            // A manifest may move the beginning of the quota day. Until then rows had only dates; what vendors document is
            // midnight in Beijing.
            "ALTER TABLE quota RENAME TO quota_by_date",
            "CREATE TABLE quota (
             account TEXT NOT NULL,
             operation TEXT NOT NULL,
             area TEXT NOT NULL,
             day TEXT NOT NULL,
             offset_minutes INTEGER NOT NULL,    -- of the midnight at which the day begins, from UTC
             used INTEGER NOT NULL,
             PRIMARY KEY (account, operation, area, day, offset_minutes)
         ) STRICT, WITHOUT ROWID",
            "INSERT INTO quota SELECT account, operation, area, day, 480, used FROM quota_by_date",
            "DROP TABLE quota_by_date",
            // What each provider may purge a day, as of the last run that had work for it.
            "CREATE TABLE provider_quota (
             provider TEXT NOT NULL,
             operation TEXT NOT NULL,
             area TEXT NOT NULL,
             targets_per_day INTEGER NOT NULL,
             days INTEGER NOT NULL,              -- over so many days it is counted
             offset_minutes INTEGER NOT NULL,
             PRIMARY KEY (provider, operation)
         ) STRICT, WITHOUT ROWID",
            // What a vendor knows a purge by, should it be repeated, and a digest of what it purges; null: not known.
            "ALTER TABLE call ADD COLUMN content INTEGER",
            "ALTER TABLE call ADD COLUMN purge TEXT",
            // What guards refuse, while they do; `holds_back`: JSON list of providers and numbers of targets, in turn;
            // `held_with`: JSON list of other manifests that are held back with this one.
            "CREATE TABLE refusal (
             subject TEXT PRIMARY KEY,
             manifest TEXT NOT NULL,     -- empty: it is about no single one
             text TEXT NOT NULL,
             since INTEGER NOT NULL,
             holds_back TEXT NOT NULL,
             held_with TEXT NOT NULL
         ) STRICT, WITHOUT ROWID",
            // When removals were first seen that are not kept as work.
            "CREATE TABLE seen_removal (
             provider TEXT NOT NULL,
             scope INTEGER NOT NULL,
             target TEXT NOT NULL,
             since INTEGER NOT NULL,
             PRIMARY KEY (provider, scope, target)
         ) STRICT, WITHOUT ROWID",
            // Removed targets that were purged in the last 30 days.
            "CREATE TABLE purged_removal (
             provider TEXT NOT NULL,
             scope INTEGER NOT NULL,
             target TEXT NOT NULL,
             at INTEGER NOT NULL,
             run INTEGER NOT NULL,
             PRIMARY KEY (target, provider, scope)
         ) STRICT, WITHOUT ROWID",
            // What guards refused of a run, and how many were refused like that one after another.
            "ALTER TABLE run ADD COLUMN refused TEXT",
            "ALTER TABLE run ADD COLUMN times INTEGER NOT NULL DEFAULT 1",
            // Targets that waited for an origin or a provider upstream.
            "ALTER TABLE run ADD COLUMN waiting INTEGER NOT NULL DEFAULT 0",
            // What a run came to at the edges.
            "ALTER TABLE run ADD COLUMN verified INTEGER NOT NULL DEFAULT 0",
            "ALTER TABLE run ADD COLUMN stale INTEGER NOT NULL DEFAULT 0",
            "ALTER TABLE run ADD COLUMN unverified INTEGER NOT NULL DEFAULT 0",
            "ALTER TABLE run ADD COLUMN probes INTEGER NOT NULL DEFAULT 0",
            "ALTER TABLE run ADD COLUMN probe_bytes INTEGER NOT NULL DEFAULT 0",
            // Of accepted purges whose manifests ask for proof: which probes are owed, and what was seen.
            "CREATE TABLE proof (
             provider TEXT NOT NULL,
             scope INTEGER NOT NULL,
             target TEXT NOT NULL,
             hash TEXT,                  -- null: a removal
             ready_at INTEGER,           -- when the origin served it, with this validator
             accepted_at INTEGER,
             validator TEXT,
             verdict TEXT NOT NULL,      -- due, verified, stale, inconclusive, unverifiable
             by TEXT,                    -- what was compared
             probed_at INTEGER,
             due INTEGER,                -- null: no probe is owed
             again_at INTEGER,           -- when it is purged a second time
             repurges INTEGER NOT NULL,
             seen TEXT,                  -- the worst probe, JSON
             gone TEXT,                  -- of a removal: what was recorded before, and
             owners TEXT,                -- JSON list of the manifests that listed it
             variants TEXT,              -- JSON list of lists of headers: those that were stale
             PRIMARY KEY (provider, scope, target)
         ) STRICT, WITHOUT ROWID",
            "CREATE INDEX proof_due ON proof (due) WHERE due IS NOT NULL",
            // By which headers of a request answers of a host vary: JSON list.
            "CREATE TABLE vary (
             host TEXT PRIMARY KEY,
             names TEXT NOT NULL,
             at INTEGER NOT NULL
         ) STRICT, WITHOUT ROWID",
            // What rows add up to: what a comparison reads of them, those of small tables, those that owe a probe, all of them, and
            // this one.
            "ALTER TABLE meta ADD COLUMN sum_compared INTEGER NOT NULL DEFAULT 0",
            "ALTER TABLE meta ADD COLUMN sum_small INTEGER NOT NULL DEFAULT 0",
            "ALTER TABLE meta ADD COLUMN sum_owed INTEGER NOT NULL DEFAULT 0",
            "ALTER TABLE meta ADD COLUMN sum_all INTEGER NOT NULL DEFAULT 0",
            "ALTER TABLE meta ADD COLUMN sum_meta INTEGER NOT NULL DEFAULT 0",
        ],
    ),
];

/// Statements that make an empty database a state of format 1.
pub(super) const CREATE: &str = "
CREATE TABLE meta (
    lineage TEXT NOT NULL,
    serial INTEGER NOT NULL,
    tool TEXT NOT NULL
) STRICT;

CREATE TABLE manifest (
    name TEXT PRIMARY KEY,
    path TEXT NOT NULL,
    on_removed TEXT NOT NULL
) STRICT;

-- One row a target of a provider: what is recorded, and the work that is left (work_kind not null).
CREATE TABLE target (
    provider TEXT NOT NULL,
    scope INTEGER NOT NULL,
    target TEXT NOT NULL,
    owners TEXT NOT NULL,           -- JSON list of manifest names
    hash TEXT,
    recorded_at INTEGER,
    task_id TEXT,
    work_kind TEXT,
    desired TEXT,                   -- null: a removal
    priority TEXT,
    since INTEGER,
    standing TEXT,                  -- pending, deferred, rejected
    reason TEXT,
    until INTEGER,
    refused_config TEXT,
    accepted_at TEXT,               -- JSON list of endpoints
    call INTEGER,                   -- intent without an outcome
    PRIMARY KEY (provider, scope, target)
) STRICT, WITHOUT ROWID;

CREATE TABLE call (
    id INTEGER PRIMARY KEY,
    run INTEGER NOT NULL,
    number INTEGER NOT NULL,        -- of the call in its run
    provider TEXT NOT NULL,
    operation TEXT NOT NULL,
    targets INTEGER NOT NULL,
    at INTEGER NOT NULL,
    UNIQUE (run, number)
) STRICT;

CREATE TABLE quota (
    account TEXT NOT NULL,
    operation TEXT NOT NULL,
    area TEXT NOT NULL,
    day TEXT NOT NULL,
    used INTEGER NOT NULL,
    PRIMARY KEY (account, operation, area, day)
) STRICT, WITHOUT ROWID;

CREATE TABLE account (
    provider TEXT PRIMARY KEY,
    fingerprint TEXT NOT NULL
) STRICT;

CREATE TABLE run (
    id INTEGER PRIMARY KEY,
    started_at INTEGER NOT NULL,
    finished_at INTEGER,
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    exit INTEGER,
    calls INTEGER NOT NULL DEFAULT 0,
    recorded INTEGER NOT NULL DEFAULT 0,
    pending INTEGER NOT NULL DEFAULT 0,
    deferred INTEGER NOT NULL DEFAULT 0,
    rejected INTEGER NOT NULL DEFAULT 0
) STRICT;
";

/// What a database is made of: kind, name, table and statement of each of its tables, indexes, views and triggers.
type Objects = Vec<[String; 4]>;

/// Digest of what a state of the newest format is made of. To make one anew in each run took a third of a short one.
const NEWEST: &str = "4ca7009f828874ac0c0a59e722c72099a8d479aad6112cb389a98f8fc4b33b3a";

/// The name of something that is not as a state of this format has it, or that it lacks.
pub(super) fn misfit(db: &Connection, format: i64) -> rusqlite::Result<Option<String>> {
    let found = objects(db)?;
    if format == FORMAT && digest(&found) == NEWEST {
        return Ok(None);
    }
    let expected = made(format)?;
    let may_lack = |name: &str| format == GREW && LATER_OF_GREW.contains(&name);
    let is_missing = |object: &&[String; 4]| !found.contains(object) && !may_lack(&object[2]) && !may_lack(&object[1]);
    let differs = found.iter().find(|object| !expected.contains(object));
    let differs = differs.or_else(|| expected.iter().find(is_missing));
    Ok(differs.map(|[_, name, ..]| name.clone()))
}

/// In any order in which they were made.
fn digest(objects: &Objects) -> String {
    let mut sorted: Vec<_> = objects.iter().collect();
    sorted.sort_unstable();
    let mut hasher = blake3::Hasher::new();
    for text in sorted.into_iter().flatten() {
        hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

fn made(format: i64) -> rusqlite::Result<Objects> {
    let db = Connection::open_in_memory()?;
    db.execute_batch(CREATE)?;
    for (_, statements) in MIGRATIONS.iter().filter(|(later, _)| *later <= format) {
        statements.iter().try_for_each(|statement| db.execute_batch(statement))?;
    }
    objects(&db)
}

fn objects(db: &Connection) -> rusqlite::Result<Objects> {
    // What the engine counts for itself, if somebody has asked it to, changes no answer.
    let all = "SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_schema WHERE name NOT GLOB 'sqlite_stat*'";
    let mut statement = db.prepare(all)?;
    let objects = statement.query_map([], |row| Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?]))?;
    objects.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_that_of_the_newest_format() {
        assert_eq!(digest(&made(FORMAT).unwrap()), NEWEST, "the tables have changed: take the digest on the left");
    }
}
