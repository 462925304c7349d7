//! What came of a bench, for people and for programs.

use crate::adapters::load::{Figures, client::Setting, gauge::Gauge};

/// What came of it, for people. A bare stroke: it was not measured.
pub fn table(done: &[Figures]) -> String {
    let head = ["", "count", "per second", "median", "99 of 100", "CPU each", "memory"].map(str::to_owned);
    let mut rows = vec![head];
    for figures in done {
        let time = |share| figures.quantile_us(share).map_or("-".into(), milliseconds);
        // Idle clients are not in a hurry.
        let rate = if figures.latencies_us.is_empty() { "-".into() } else { format!("{:.0}", figures.rate()) };
        let each =
            |cost: &Gauge| milliseconds((cost.cpu_ms * 1_000 / figures.count.max(1)).try_into().unwrap_or(u32::MAX));
        let unit = if figures.scenario == "signin" { "sign-ins" } else { figures.unit };
        let grown = figures.cost.and_then(|_| figures.more.iter().find(|(name, _)| *name == "grown_kib"));
        let grown = grown.map_or(String::new(), |(_, kib)| format!(", {} KiB each", kib / figures.count.max(1)));
        rows.push([
            figures.scenario.to_owned(),
            format!("{} {unit}{grown}", figures.count),
            rate,
            time(0.5),
            time(0.99),
            figures.cost.as_ref().map_or("-".into(), each),
            figures.cost.as_ref().map_or("-".into(), |cost| format!("{:.1} MiB", cost.rss_kib as f64 / 1_024.0)),
        ]);
    }
    let widths: [usize; 7] = std::array::from_fn(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0));
    let mut out = String::new();
    for row in rows {
        let cells = row.iter().zip(widths).enumerate();
        let cells = cells.map(|(at, (cell, width))| match at {
            0 | 1 => format!("{cell:width$}"),
            _ => format!("{cell:>width$}"),
        });
        out.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        out.push('\n');
    }
    out
}

fn milliseconds(us: u32) -> String {
    format!("{:.2} ms", f64::from(us) / 1_000.0)
}

/// The same on one line, with everything.
pub fn json(setting: &Setting, done: &[Figures]) -> String {
    let figures: Vec<String> = done.iter().map(Figures::json).collect();
    // Neither a prepared domain nor an address holds what would have to be escaped.
    format!(
        "{{\"host\":\"{}\",\"domain\":\"{}\",\"results\":[{}]}}",
        setting.address,
        setting.domain,
        figures.join(",")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_a_line_for_each_scenario() {
        let figures = Figures {
            scenario: "pairs",
            unit: "messages",
            count: 10,
            seconds: 2.0,
            latencies_us: vec![1_500; 10],
            cost: Some(Gauge { cpu_ms: 20, rss_kib: 2_048, ..Gauge::default() }),
            more: Vec::new(),
        };
        let idle = Figures { scenario: "idle", unit: "clients", count: 5, ..Figures::default() };
        assert_eq!(
            table(&[figures, idle]),
            "       count        per second   median  99 of 100  CPU each   memory\n\
             pairs  10 messages           5  1.50 ms    1.50 ms   2.00 ms  2.0 MiB\n\
             idle   5 clients             -        -          -         -        -\n"
        );
    }
}
