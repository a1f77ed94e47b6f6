//! What providers say of their accounts and of accepted purges, as text and as JSON.

use serde_json::{Value, json};

use super::{count, row, shown, strong, table};
use crate::core::command_line::{CommandLine, Verb};
use crate::core::contract::Capabilities;
use crate::core::model::Model;
use crate::core::query::{QuotaFound, TaskState};
use crate::core::target::Scope;
use crate::engine::{AccountStatus, Refreshed};

/// Targets that are listed one by one for people.
const LISTED: usize = 20;

/// Providers' answers for people.
pub(crate) fn human(model: &Model, standings: &[AccountStatus]) -> String {
    let mut rows = Vec::new();
    for standing in standings {
        let config = &model.providers[standing.provider];
        let clock = match standing.clock_ahead_s {
            None => "-".to_owned(),
            Some(0) => "right".to_owned(),
            Some(ahead) if ahead > 0 => format!("{ahead} s ahead"),
            Some(ahead) => format!("{} s behind", -ahead),
        };
        let mut quotas: Vec<String> =
            standing.quota.iter().map(|quota| quota_line(config.kind.capabilities(), quota)).collect();
        if quotas.is_empty() {
            quotas.push("-".to_owned());
        }
        let credentials = standing.credentials.word().to_owned();
        let mut first = vec![config.name.clone(), config.kind.capabilities().kind.to_owned(), credentials, clock];
        for quota in quotas {
            first.push(quota);
            rows.push(std::mem::replace(&mut first, vec![String::new(); 4]));
        }
    }
    let mut text = format!("\n{}", table(&["PROVIDER", "KIND", "CREDENTIALS", "CLOCK", "QUOTA LEFT"], &rows, &[]));
    for standing in standings {
        if let Some(problem) = &standing.problem {
            text.push_str(&format!("{}: {}\n", model.providers[standing.provider].name, shown(problem)));
        }
    }
    text
}

fn quota_line(kind: &Capabilities, quota: &QuotaFound) -> String {
    let operation = kind.operations.iter().find(|operation| operation.quota == quota.operation);
    let is_of_directories = operation.is_some_and(|operation| operation.scope == Scope::Directory);
    let what = if is_of_directories { " directories" } else { "" };
    let area = if quota.area.is_empty() { String::new() } else { format!(" ({})", shown(&quota.area)) };
    format!("{} of {}{what} a day{area}", quota.left, quota.limit)
}

/// Providers' answers for programs.
pub(crate) fn json(model: &Model, standings: &[AccountStatus]) -> Value {
    let quota = |found: &QuotaFound| json!({"operation": found.operation, "area": found.area, "limit": found.limit, "left": found.left});
    let row = |standing: &AccountStatus| {
        let config = &model.providers[standing.provider];
        json!({
            "provider": config.name,
            "kind": config.kind.capabilities().kind,
            "credentials": standing.credentials.word(),
            "clock_ahead_s": standing.clock_ahead_s,
            "quota": standing.quota.iter().map(quota).collect::<Value>(),
            "problem": standing.problem,
        })
    };
    standings.iter().map(row).collect()
}

/// What became of accepted purges, for people.
pub(crate) fn results(refreshed: &Refreshed, commands: &CommandLine) -> String {
    let Refreshed { results, due_again } = refreshed;
    let mut text = format!("{}\n", strong("Results of accepted purges"));
    let providers = results.by_provider();
    if providers.is_empty() {
        text.push_str("  none\n");
    } else {
        let rows: Vec<Vec<String>> = providers.into_iter().map(|(name, numbers)| row(&[name], &numbers)).collect();
        text.push_str(&table(&["PROVIDER", "DONE", "PROCESSING", "FAILED"], &rows, &[1, 2, 3]));
    }
    for (name, number, reason) in &results.untold {
        text.push_str(&format!("{name}: {}: {}\n", count(*number, "target"), shown(reason)));
    }
    for (name, error) in &results.errors {
        text.push_str(&format!("{name}: {}\n", shown(&error.summary())));
    }
    if *due_again > 0 {
        let targets = count(*due_again, "target");
        let apply = commands.offer(Verb::Apply, &[]);
        text.push_str(&format!("{targets} pending again; {apply} purges them:\n"));
        let failed: Vec<_> = results.told.iter().filter(|settled| settled.state == TaskState::Failed).collect();
        for settled in failed.iter().take(LISTED) {
            text.push_str(&format!("    {}\n", shown(&settled.task.target.text)));
        }
        if failed.len() > LISTED {
            text.push_str(&format!("    … and {} more\n", failed.len() - LISTED));
        }
    }
    text.push('\n');
    text
}

/// What became of accepted purges, for programs.
pub(crate) fn results_json(refreshed: &Refreshed) -> Value {
    let Refreshed { results, due_again } = refreshed;
    let told = results.told.iter().map(|settled| {
        json!({
            "provider": settled.task.provider,
            "scope": settled.task.target.scope.word(),
            "target": settled.task.target.text,
            "task_id": settled.task.task_id,
            "accepted_at": settled.task.accepted_at.utc_extended(),
            "result": settled.state.word(),
        })
    });
    let untold = results.untold.iter();
    let untold = untold.map(|(name, number, why)| json!({"provider": name, "targets": number, "reason": why}));
    let errors = results.errors.iter();
    let errors = errors.map(|(name, error)| {
        json!({"provider": name, "class": error.class.word(), "code": error.code, "error": error.summary()})
    });
    json!({
        "pending_again": due_again,
        "targets": told.collect::<Value>(),
        "not_told": untold.collect::<Value>(),
        "errors": errors.collect::<Value>(),
    })
}
