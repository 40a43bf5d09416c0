use super::*;

fn shards(text: &str) -> Shards {
    text.parse().unwrap()
}

/// `printf %s payments | sha256sum | cut -c1-16` gives df384ae97c77ad30. These never change: replicas of two versions would
/// disagree on who works on what.
#[test]
fn the_shard_of_a_namespace_is_the_same_for_ever() {
    for (namespace, among_2, among_3, among_4, among_5, among_7, among_64) in [
        ("payments", 0, 0, 0, 0, 1, 48),
        ("team-a", 0, 0, 0, 1, 3, 52),
        ("team-b", 0, 2, 2, 2, 1, 42),
        ("default", 1, 1, 1, 4, 4, 61),
        ("releaseclosure-system", 0, 0, 0, 1, 2, 52),
    ] {
        let of = |count: &str| Shard::of(namespace, shards(count)).index();
        let found = ["2", "3", "4", "5", "7", "64"].map(of);
        assert_eq!(found, [among_2, among_3, among_4, among_5, among_7, among_64], "{namespace}");
        assert!(Shard::WHOLE.holds(namespace) && Shard::of(namespace, Shards::ONE) == Shard::WHOLE);
    }
}

#[test]
fn each_namespace_is_in_one_shard_and_none_is_empty() {
    for count in 1..=SHARDS_MAX {
        let shards = shards(&count.to_string());
        let mut sizes = vec![0; usize::from(count)];
        for number in 0..4096 {
            let namespace = format!("team-{number}");
            let holding: Vec<Shard> = shards.all().filter(|shard| shard.holds(&namespace)).collect();
            assert_eq!(holding, [Shard::of(&namespace, shards)]);
            sizes[usize::from(holding[0].index())] += 1;
        }
        let (least, most) = (*sizes.iter().min().unwrap(), *sizes.iter().max().unwrap());
        assert!(least * 3 > most, "{count}: {sizes:?}");
    }
}

#[test]
fn a_number_of_shards_is_1_to_64() {
    for wrong in ["0", "65", "-1", "", "four", "1.5", "65537"] {
        assert!(wrong.parse::<Shards>().is_err(), "{wrong}");
    }
    assert_eq!((shards("64").count(), shards("1")), (64, Shards::ONE));
}

#[test]
fn layouts_have_names_of_their_own() {
    let names: std::collections::BTreeSet<String> =
        (1..=SHARDS_MAX).map(|count| shards(&count.to_string()).layout()).collect();
    assert_eq!(names.len(), usize::from(SHARDS_MAX));
    assert!(names.iter().all(|name| Shards::is_layout(name)));
    assert!(!Shards::is_layout("operator-0_0b9f_00000000deadbeef"));
}
