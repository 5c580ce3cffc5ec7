//! `drystone durability`.

use super::{CommandResult, print, print_json};
use clap::Args;
use drystone_cluster::{Durability, DurabilityInput, Protection, Shape};
use std::process::ExitCode;

#[derive(Args)]
pub(crate) struct DurabilityArguments {
    /// Number of drives.
    #[arg(long)]
    drives: usize,
    /// Zones that the drives are spread over.
    #[arg(long, default_value_t = 1)]
    zones: usize,
    /// Percent of drives that fail within a year.
    #[arg(long, default_value_t = 2.0)]
    afr: f64,
    /// Hours from a failure until everything is whole again.
    #[arg(long, default_value_t = 24.0)]
    repair_hours: f64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &DurabilityArguments) -> CommandResult {
    let DurabilityArguments { drives, zones, afr, repair_hours, json } = *arguments;
    if drives == 0 || !(afr > 0.0 && afr < 100.0) || repair_hours <= 0.0 {
        return Err("drives and hours are above 0, the failure rate is between 0 and 100".into());
    }
    let mut shapes = vec![
        ("STANDARD", Shape::for_drives(drives, zones, Protection::Standard)),
        ("REDUCED_REDUNDANCY", Shape::for_drives(drives, zones, Protection::Reduced)),
    ];
    shapes.dedup_by_key(|(_, shape)| *shape);
    let estimates: Vec<_> = shapes
        .into_iter()
        .map(|(class, shape)| {
            let annual_failure_rate = afr / 100.0;
            let input = DurabilityInput { drives, shape, annual_failure_rate, repair_hours };
            (class, shape, Durability::estimate(input))
        })
        .collect();
    if json {
        let rows: Vec<_> = estimates
            .iter()
            .map(|(class, shape, estimate)| {
                serde_json::json!({
                    "class": class,
                    "code": shape.to_string(),
                    "survives_drives": shape.parity,
                    "object_loss_per_year": estimate.object_loss,
                    "any_loss_per_year": estimate.any_loss,
                })
            })
            .collect();
        print_json(&format!("{}\n", serde_json::Value::from(rows)));
        return Ok(ExitCode::SUCCESS);
    }
    print(&format!(
        "{drives} drives, {afr} % of which fail within a year, whole again {repair_hours} h later\n"
    ));
    for (class, shape, estimate) in estimates {
        print(&format!(
            "{class:<20} {:<9} survives {} drives; a given object is lost with {:.1e} a year ({:.1} \
             nines), any object with {:.1e} at most\n",
            shape.to_string(),
            shape.parity,
            estimate.object_loss,
            estimate.nines(),
            estimate.any_loss,
        ));
    }
    print("Drives that fail independently, nothing else: an estimate to compare codes by.\n");
    Ok(ExitCode::SUCCESS)
}
