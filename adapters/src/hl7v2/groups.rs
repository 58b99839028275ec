//! The groups of the message structures this server knows, and how segments fall into them.
//!
//! HL7 v2 chapters 3 (ADT), 4 (orders, pharmacy, vaccination), 6 (DFT), 7 (results), 9 (MDM), 10 (SIU) and 12 (PPR), in the newest version's shape, which contains those of the older ones.
//!
//! Left out on purpose: structures of messages no mapping reads. Their trees are flat.

use mappings::Hl7Builder;

/// A group of a message structure.
struct Group {
    name: &'static str,
    /// Segments that open it, in the order in which they may share one: ORC, then OBR.
    heads: &'static [&'static str],
    /// Segments that belong to it once it is open.
    members: &'static [&'static str],
    groups: &'static [Group],
    /// False when a second one means that the group around it starts anew.
    repeats: bool,
}

const NOTES: &[&str] = &["NTE", "PRT"];

const OBSERVATION: Group = Group {
    name: "OBSERVATION",
    heads: &["OBX"],
    members: &["PRT", "NTE"],
    groups: &[],
    repeats: true,
};
const SPECIMEN: Group = Group {
    name: "SPECIMEN",
    heads: &["SPM"],
    members: NOTES,
    groups: &[OBSERVATION],
    repeats: true,
};
const TIMING: Group = Group {
    name: "TIMING_QTY",
    heads: &["TQ1"],
    members: &["TQ2"],
    groups: &[],
    repeats: true,
};
const VISIT: Group = Group {
    name: "VISIT",
    heads: &["PV1"],
    members: &["PV2", "PRT", "ROL"],
    groups: &[],
    repeats: false,
};
const PATIENT_OBSERVATION: Group = Group {
    name: "PATIENT_OBSERVATION",
    heads: &["OBX"],
    members: &["PRT"],
    groups: &[],
    repeats: true,
};
const PATIENT: Group = Group {
    name: "PATIENT",
    heads: &["PID"],
    members: &[
        "PD1", "PRT", "ROL", "NTE", "NK1", "ARV", "OH1", "OH2", "OH3", "OH4",
    ],
    groups: &[PATIENT_OBSERVATION, VISIT],
    repeats: false,
};
const ORDER_OBSERVATION: Group = Group {
    name: "ORDER_OBSERVATION",
    heads: &["ORC", "OBR"],
    members: &["NTE", "PRT", "ROL", "CTD", "FT1", "CTI", "TXA"],
    groups: &[TIMING, OBSERVATION, SPECIMEN],
    repeats: true,
};
const PATIENT_RESULT: Group = Group {
    name: "PATIENT_RESULT",
    heads: &[],
    members: &[],
    groups: &[PATIENT, ORDER_OBSERVATION],
    repeats: true,
};
const PROCEDURE: Group = Group {
    name: "PROCEDURE",
    heads: &["PR1"],
    members: &["ROL", "PRT"],
    groups: &[],
    repeats: true,
};
const INSURANCE: Group = Group {
    name: "INSURANCE",
    heads: &["IN1"],
    members: &["IN2", "IN3", "AUT", "RF1"],
    groups: &[],
    repeats: true,
};
const MERGED_PATIENT: Group = Group {
    name: "PATIENT",
    heads: &["PID"],
    members: &[
        "PD1", "MRG", "PV1", "PV2", "DB1", "OBX", "NTE", "PRT", "ARV",
    ],
    groups: &[],
    repeats: true,
};

/// The top of a structure is the message itself, a group that is always open.
const fn message(members: &'static [&'static str], groups: &'static [Group]) -> Group {
    Group {
        name: "",
        heads: &[],
        members,
        groups,
        repeats: false,
    }
}

/// One order of an order message, with what is ordered and what was observed or given for it.
const ORDER: Group = Group {
    name: "ORDER",
    heads: &["ORC", "OBR", "RQD", "RXO", "RXE", "RXD", "RXG", "RXA"],
    members: &[
        "NTE", "PRT", "ROL", "CTD", "DG1", "REL", "IPC", "FT1", "CTI", "BLG", "RXR", "RXC", "RXV",
        "CDO", "TXA", "FAC",
    ],
    groups: &[TIMING, OBSERVATION, SPECIMEN],
    repeats: true,
};
const ORDER_VISIT: Group = Group {
    name: "VISIT",
    heads: &["PV1"],
    members: &["PV2", "PV3", "PRT", "ROL"],
    groups: &[],
    repeats: false,
};
const ORDER_PATIENT: Group = Group {
    name: "PATIENT",
    heads: &["PID"],
    members: &[
        "PD1", "PRT", "ROL", "NTE", "NK1", "ARV", "AL1", "IAM", "GT1", "OH1", "OH2", "OH3", "OH4",
    ],
    groups: &[PATIENT_OBSERVATION, ORDER_VISIT, INSURANCE],
    repeats: true,
};
/// OUL^R22: a specimen, its containers, and the orders done on it.
const OUL_ORDER: Group = Group {
    name: "ORDER",
    heads: &["OBR"],
    members: &["ORC", "NTE", "PRT", "ROL", "CTI"],
    groups: &[TIMING, OUL_RESULT],
    repeats: true,
};
const OUL_RESULT: Group = Group {
    name: "OBSERVATION",
    heads: &["OBX"],
    members: &["TCD", "SID", "NTE", "PRT"],
    groups: &[],
    repeats: true,
};
const OUL_SPECIMEN: Group = Group {
    name: "SPECIMEN",
    heads: &["SPM"],
    members: &["NTE", "PRT", "SAC", "INV"],
    groups: &[OBSERVATION, OUL_ORDER],
    repeats: true,
};
const COMMON_ORDER: Group = Group {
    name: "ORDER",
    heads: &["ORC", "OBR"],
    members: &["PRT"],
    groups: &[TIMING],
    repeats: true,
};
const SERVICE: Group = resource("SERVICE", &["AIS"]);
const GENERAL: Group = resource("GENERAL_RESOURCE", &["AIG"]);
const PLACE: Group = resource("LOCATION_RESOURCE", &["AIL"]);
const PERSONNEL: Group = resource("PERSONNEL_RESOURCE", &["AIP"]);
const RESOURCES: Group = Group {
    name: "RESOURCES",
    heads: &["RGS"],
    members: &[],
    groups: &[SERVICE, GENERAL, PLACE, PERSONNEL],
    repeats: true,
};
const FINANCIAL: Group = Group {
    name: "FINANCIAL",
    heads: &["FT1"],
    members: &["NTE", "PRT"],
    groups: &[PROCEDURE],
    repeats: true,
};
const GOAL: Group = Group {
    name: "GOAL",
    heads: &["GOL"],
    members: &["NTE", "VAR", "ROL", "PRT"],
    groups: &[OBSERVATION],
    repeats: true,
};
const PROBLEM: Group = Group {
    name: "PROBLEM",
    heads: &["PRB"],
    members: &["NTE", "VAR", "ROL", "PRT", "PTH"],
    groups: &[OBSERVATION, GOAL, ORDER],
    repeats: true,
};
const MERGE_INFO: Group = Group {
    name: "MERGE_INFO",
    heads: &["MRG"],
    members: &["PV1"],
    groups: &[],
    repeats: true,
};

/// A resource of an appointment.
const fn resource(name: &'static str, heads: &'static [&'static str]) -> Group {
    Group {
        name,
        heads,
        members: &["NTE"],
        groups: &[],
        repeats: true,
    }
}

const ORU: Group = message(&["SFT", "UAC"], &[PATIENT_RESULT]);
const ORDERS: Group = message(&["SFT", "UAC"], &[ORDER_PATIENT, ORDER_VISIT, ORDER]);
const OUL: Group = message(
    &["SFT", "UAC", "NTE"],
    &[ORDER_PATIENT, ORDER_VISIT, OUL_SPECIMEN, OUL_ORDER],
);
const MDM: Group = message(
    &["SFT", "UAC", "EVN", "PID", "PRT", "PV1", "TXA", "CON"],
    &[COMMON_ORDER, OBSERVATION],
);
const SIU: Group = message(&["SCH", "TQ1", "NTE"], &[SIU_PATIENT, RESOURCES]);
const SIU_PATIENT: Group = Group {
    name: "PATIENT",
    heads: &["PID"],
    members: &[
        "PD1", "PV1", "PV2", "OBX", "DG1", "PRT", "AL1", "NK1", "GT1",
    ],
    groups: &[INSURANCE],
    repeats: true,
};
const DFT: Group = message(
    &[
        "SFT", "UAC", "EVN", "PID", "PD1", "PRT", "ROL", "PV1", "PV2", "DB1", "DG1", "DRG", "GT1",
        "ACC", "NK1", "OBX", "AL1",
    ],
    &[COMMON_ORDER, FINANCIAL, INSURANCE],
);
const PPR: Group = message(
    &["SFT", "UAC", "PID", "PD1", "PV1", "PV2", "ARV", "PRT"],
    &[PROBLEM, GOAL],
);
const ADT: Group = message(
    &[
        "ACC", "AL1", "ARV", "DB1", "DG1", "DRG", "EVN", "GT1", "IAM", "MRG", "NK1", "OBX", "PD1",
        "PDA", "PID", "PRT", "PV1", "PV2", "ROL", "SFT", "UAC", "UB1", "UB2",
    ],
    &[PROCEDURE, INSURANCE],
);
const MERGE: Group = message(&["SFT", "UAC", "EVN"], &[MERGED_PATIENT]);
const MOVED_VISITS: Group = message(&["SFT", "UAC", "EVN", "PID", "PD1"], &[MERGE_INFO]);
const FLAT: Group = message(&[], &[]);

fn top(structure: &str) -> &'static Group {
    match structure {
        "ADT_A17" | "ADT_A24" | "ADT_A37" | "ADT_A39" | "ADT_A43" | "ADT_A44" => &MERGE,
        "ADT_A45" => &MOVED_VISITS,
        _ => match structure.get(..4) {
            Some("ADT_" | "BAR_") => &ADT,
            Some("ORU_") => &ORU,
            Some("OUL_") => &OUL,
            Some(
                "ORM_" | "OML_" | "OMG_" | "OMP_" | "OMI_" | "RDE_" | "RDS_" | "RAS_" | "VXU_",
            ) => &ORDERS,
            Some("MDM_") => &MDM,
            Some("SIU_") => &SIU,
            Some("DFT_") => &DFT,
            Some("PPR_") => &PPR,
            _ => &FLAT,
        },
    }
}

/// The groups a reader stands in, outermost first.
pub(super) struct Groups(Vec<Open>);

/// An open group.
struct Open {
    group: &'static Group,
    /// Behind the head seen last.
    heads: usize,
    /// Behind the last child group opened.
    children: usize,
}

impl Open {
    fn new(group: &'static Group) -> Open {
        Open {
            group,
            heads: 0,
            children: 0,
        }
    }
}

impl Groups {
    /// The top of a structure.
    pub(super) fn of(structure: &str) -> Groups {
        Groups(vec![Open::new(top(structure))])
    }

    /// Opens and closes groups so that the segment stands in the right one.
    pub(super) fn place(&mut self, builder: &mut Hl7Builder, id: &str) {
        let Groups(open) = self;
        for depth in (0..open.len()).rev() {
            let Some(here) = open.get_mut(depth) else {
                return;
            };
            let head = here.group.heads.iter().position(|h| *h == id);
            if let Some(head) = head {
                if head >= here.heads {
                    here.heads = head + 1;
                    close_to(builder, open, depth);
                    return;
                }
            } else if here.group.members.contains(&id) {
                close_to(builder, open, depth);
                return;
            }
            // A head seen before opens the group anew: the group around it finds it among its children.
            let path = if head.is_some() {
                None
            } else {
                path_to(here, id)
            };
            if let Some((child, path)) = path {
                here.children = child;
                close_to(builder, open, depth);
                for group in path {
                    builder.open_group(group.name);
                    let mut opened = Open::new(group);
                    opened.heads = group
                        .heads
                        .iter()
                        .position(|h| *h == id)
                        .map_or(0, |h| h + 1);
                    // A group opened on the way has its first child taken, if that does not repeat.
                    opened.children = group
                        .groups
                        .iter()
                        .position(|g| g.heads.contains(&id))
                        .map_or(0, |c| after(group, c));
                    open.push(opened);
                }
                return;
            }
        }
    }
}

/// The groups to open below `here` for a segment, and where its children go on.
fn path_to(here: &Open, id: &str) -> Option<(usize, Vec<&'static Group>)> {
    for (i, group) in here.group.groups.iter().enumerate() {
        if group.heads.contains(&id) && (group.repeats || i >= here.children) {
            return Some((here.children.max(after(here.group, i)), vec![group]));
        }
        if group.heads.is_empty()
            && let Some((_, mut below)) = path_to(&Open::new(group), id)
        {
            below.insert(0, group);
            return Some((here.children.max(after(here.group, i)), below));
        }
    }
    None
}

/// Where children go on after the `i`-th: at it when it repeats.
fn after(group: &Group, i: usize) -> usize {
    if group.groups.get(i).is_some_and(|g| g.repeats) {
        i
    } else {
        i + 1
    }
}

fn close_to(builder: &mut Hl7Builder, open: &mut Vec<Open>, depth: usize) {
    while open.len() > depth + 1 {
        open.pop();
        builder.close_group();
    }
}
