//! Why nothing is sent although the hub answers, and how people are told.

/// Why nothing is sent although the hub answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The hub's WELCOME names no mark at all.
    Strangers,
    /// The hub speaks no protocol this build speaks.
    Protocol {
        /// What it asked for.
        offered: u8,
    },
    /// What the meeting decided could not be written to the disk.
    Store,
}

impl Trouble {
    /// What it means, in Chinese.
    pub fn zh(&self) -> String {
        match self {
            Trouble::Strangers => "需运维处理：与中心没有共同的条目".to_owned(),
            Trouble::Protocol { offered } => format!("需运维处理：中心使用协议 {offered}，本机不支持"),
            Trouble::Store => "需运维处理：与中心会合的结果写不进本机磁盘".to_owned(),
        }
    }

    /// What it means, in English.
    pub fn en(&self) -> String {
        match self {
            Trouble::Strangers => "needs ops: this journal and the hub have nothing in common".to_owned(),
            Trouble::Protocol { offered } => {
                format!("needs ops: the hub speaks protocol {offered}, this agent does not")
            }
            Trouble::Store => "needs ops: what the meeting decided could not be written to this disk".to_owned(),
        }
    }
}
