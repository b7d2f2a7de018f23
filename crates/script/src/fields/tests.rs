use super::*;

fn fields(paths: &[&str], loose: &[&str]) -> Fields {
    let paths = paths
        .iter()
        .map(|path| {
            let (root, path) = match path.split_once(':') {
                Some(("old", path)) => (Root::Before, path),
                Some((_, path)) => (Root::User, path),
                None => (Root::Current, *path),
            };
            let path: Vec<String> = path.split('.').map(str::to_owned).collect();
            let places = (1..).take(path.len()).map(|column| Some((1, column))).collect();
            FieldUse { root, path, places }
        })
        .collect();
    Fields { paths, loose: loose.iter().map(|name| (*name).to_owned()).collect() }
}

fn types(names: &[&str]) -> Vec<ObjectType> {
    names.iter().map(|name| ObjectType::new(name).unwrap()).collect()
}

#[test]
fn paths_are_held_against_the_model() {
    let model = Model::vms();
    let check = |on: &[&str], path: &str, expected: Option<&str>| {
        let error = fields(&[path], &[]).check(&model, &types(on)).err().map(|e| e.to_string());
        assert_eq!(error.as_deref(), expected, "{path} on {on:?}");
    };
    for good in [
        "key",
        "self",
        "referenceNo",
        "createdDate",
        "vessel.vesselName",
        "vessel.owner.businessPartnerName",
        "vessel.key",
        "voyageHeader.voyageStatus.statusTypeCode",
        "portCalls.port.portName",
        "portCalls.len",
        "portCalls.eventLogs.event.eventCode",
        "referenceNo.len",
        "voyageResult.whatever.there.is",
        "vessel.owner.something",
        "scenarios.scenarioCode",
        "old:vessel.vesselName",
        "user:userName",
        "user:anything",
    ] {
        check(&["Voyage"], good, None);
    }
    check(&["Voyage"], "referenceNumber", Some("unknown field 'referenceNumber'"));
    check(
        &["Voyage"],
        "referenceN",
        Some("unknown field 'referenceN', the nearest known is 'referenceNo'"),
    );
    check(
        &["Voyage"],
        "vessel.vesselNam",
        Some("unknown field 'vessel.vesselNam', the nearest known is 'vesselName'"),
    );
    check(&["Voyage"], "vessel.vesselName.x", Some("unknown field 'vessel.vesselName.x'"));
    check(&["Voyage"], "scenarios.code", Some("unknown field 'scenarios.code'"));
    check(&["Voyage"], "old:nothing", Some("unknown field 'nothing'"));
    // One type that has it is enough.
    check(&["Voyage", "PortCall"], "portCallSequence", None);
    check(&["Voyage"], "portCallSequence", Some("unknown field 'portCallSequence'"));
    // A type that the model does not know has any field.
    check(&["Unheard"], "any.thing", None);
}

#[test]
fn the_name_that_leads_nowhere_is_told() {
    let check = |path: &str, places: &[Option<(u32, u32)>], expected: (&str, Option<u32>)| {
        let mut fields = fields(&[path], &[]);
        fields.paths[0].places = places.to_vec();
        let error = fields.check(&Model::vms(), &types(&["Voyage"])).unwrap_err();
        assert_eq!((error.path.as_str(), error.column), expected);
    };
    let three = [Some((1, 5)), Some((1, 7)), Some((1, 9))];
    check("vesel.owner.name", &three, ("vesel", Some(5)));
    check("vessel.ownr.name", &three, ("vessel.ownr", Some(7)));
    check("vessel.vesselName.x", &three, ("vessel.vesselName.x", Some(9)));
    check("vesel.owner.name", &[None, None, Some((1, 9))], ("vesel", Some(9)));
    check("vesel.owner.name", &[], ("vesel", None));
}

#[test]
fn what_is_read_of_which_type() {
    let model = Model::vms();
    let check = |on: &str, fields: &Fields, expected: &[&str]| {
        let reads = fields.reads(&model, &ObjectType::new(on).unwrap());
        let mut reads: Vec<String> = reads.iter().map(|(t, name)| format!("{t}.{name}")).collect();
        reads.sort();
        assert_eq!(reads, expected, "{fields:?} on {on}");
    };
    check("Voyage", &fields(&[], &[]), &[]);
    check("Voyage", &fields(&["key", "vessel.key"], &[]), &["Voyage.vessel"]);
    check(
        "Voyage",
        &fields(&["vessel.owner.businessPartnerName", "old:referenceNo"], &[]),
        &[
            "BusinessPartner.businessPartnerName",
            "Vessel.owner",
            "Voyage.referenceNo",
            "Voyage.vessel",
        ],
    );
    check(
        "Voyage",
        &fields(&["portCalls.eventLogs.event.eventCode"], &[]),
        &["EventLog.event", "PortCall.eventLogs", "Voyage.portCalls"],
    );
    check("Voyage", &fields(&["user:userName"], &[]), &["User.userName"]);
    // A field of another trigger's type is none of this one's.
    check("Voyage", &fields(&["portCallSequence"], &[]), &[]);
    // A loose name counts wherever it may be.
    check(
        "PortCall",
        &fields(&[], &["eventCode", "portName", "referenceNo"]),
        &["Port.portName", "Voyage.referenceNo", "VoyageHeader.referenceNo"],
    );
    check("Unheard", &fields(&["any"], &["thing"]), &[]);
}
