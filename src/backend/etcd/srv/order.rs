//! RFC 2782: which of the records is to be tried first.

use super::message::Record;

/// By priority, the lowest number first; within one by lot, so that a record is first
/// in proportion to its weight. `random` gives a number up to its argument.
pub fn order(mut records: Vec<Record>, mut random: impl FnMut(u64) -> u64) -> Vec<Record> {
    // Those of weight 0 come first within a priority, as the RFC has it: they keep a
    // small chance.
    records.sort_unstable();
    let mut ordered = Vec::with_capacity(records.len());
    while let Some(first) = records.first() {
        let same = records.iter().take_while(|it| it.priority == first.priority);
        let weights: Vec<u64> = same.map(|it| u64::from(it.weight)).collect();
        let lot = random(weights.iter().sum());
        let mut sum = 0;
        let drawn = weights.iter().position(|weight| {
            sum += weight;
            sum >= lot
        });
        ordered.push(records.remove(drawn.unwrap_or(0)));
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(priority: u16, weight: u16, port: u16) -> Record {
        Record { priority, weight, host: "h".into(), port }
    }

    fn ports(records: &[Record], lots: &[u64]) -> Vec<u16> {
        let mut lots = lots.iter();
        let ordered = order(records.to_vec(), |most| {
            *lots.next().filter(|lot| **lot <= most).expect("a lot within bounds")
        });
        ordered.iter().map(|record| record.port).collect()
    }

    #[test]
    fn lower_numbers_come_first_whatever_their_weight() {
        let records = [record(20, 9, 1), record(5, 0, 2), record(10, 1, 3)];
        assert_eq!(ports(&records, &[0, 1, 9]), [2, 3, 1]);
    }

    #[test]
    fn within_a_priority_weight_is_a_chance() {
        let records = [record(0, 10, 1), record(0, 0, 2), record(0, 30, 3)];
        assert_eq!(ports(&records, &[0, 0, 0]), [2, 1, 3]);
        assert_eq!(ports(&records, &[1, 30, 0]), [1, 3, 2]);
        assert_eq!(ports(&records, &[10, 0, 0]), [1, 2, 3]);
        assert_eq!(ports(&records, &[11, 1, 0]), [3, 1, 2]);
        assert_eq!(ports(&records, &[40, 10, 0]), [3, 1, 2]);
        let all = [record(0, u16::MAX, 1), record(0, u16::MAX, 2)];
        assert_eq!(ports(&all, &[2 * u64::from(u16::MAX), 0]), [2, 1]);
    }
}
