//! Lists of names and values in XDR form, as ZFS keeps them in labels: usr/src/common/nvpair/nvpair.c.

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// An unsigned number (DATA_TYPE_UINT64, 8).
    Number(u64),
    /// A string (DATA_TYPE_STRING, 9).
    Text(String),
    /// A list (DATA_TYPE_NVLIST, 19).
    List(List),
}

/// Names and values in order.
pub type List = Vec<(&'static str, Value)>;

/// The bytes of a packed list: the header (encoding XDR, little-endian host) and the list itself.
pub fn pack(list: &List) -> Vec<u8> {
    let mut bytes = vec![1, 1, 0, 0];
    put_list(&mut bytes, list);
    bytes
}

fn put(bytes: &mut Vec<u8>, number: usize) {
    bytes.extend_from_slice(&u32::try_from(number).expect("labels are small").to_be_bytes());
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    put(bytes, text.len());
    bytes.extend_from_slice(text.as_bytes());
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

fn put_list(bytes: &mut Vec<u8>, list: &List) {
    // Version 0; names are unique (NV_UNIQUE_NAME).
    put(bytes, 0);
    put(bytes, 1);
    for (name, value) in list {
        put_pair(bytes, name, value);
    }
    put(bytes, 0);
    put(bytes, 0);
}

fn put_pair(bytes: &mut Vec<u8>, name: &str, value: &Value) {
    let mut body = Vec::new();
    put_text(&mut body, name);
    let kind = match value {
        Value::Number(_) => 8,
        Value::Text(_) => 9,
        Value::List(_) => 19,
    };
    put(&mut body, kind);
    put(&mut body, 1);
    match value {
        Value::Number(number) => body.extend_from_slice(&number.to_be_bytes()),
        Value::Text(text) => put_text(&mut body, text),
        Value::List(list) => put_list(&mut body, list),
    }
    // The size of the pair in this form, and in memory: nobody reads the latter exactly, it only must not be 0.
    put(bytes, body.len() + 8);
    put(bytes, (body.len() + 8).next_multiple_of(8));
    bytes.append(&mut body);
}

/// The numbers and texts at the top of a packed list, as far as it can be read.
pub fn top(bytes: &[u8]) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    let mut at = 12;
    if bytes.first() != Some(&1) {
        return found;
    }
    while let Some(size) = number(bytes, at).filter(|&size| size >= 20) {
        let Some(pair) = bytes.get(at + 8..at + size) else { break };
        if let Some((name, value)) = pair_of(pair) {
            found.push((name, value));
        }
        at += size;
    }
    found
}

fn pair_of(pair: &[u8]) -> Option<(String, Value)> {
    let name = text(pair, 0)?;
    let at = 4 + name.len().next_multiple_of(4);
    let value = match number(pair, at)? {
        8 => Value::Number(u64::from_be_bytes(pair.get(at + 8..at + 16)?.try_into().ok()?)),
        9 => Value::Text(text(pair, at + 8)?),
        _ => return None,
    };
    Some((name, value))
}

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..at + 4)?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?) as usize)
}

fn text(bytes: &[u8], at: usize) -> Option<String> {
    let size = number(bytes, at)?;
    String::from_utf8(bytes.get(at + 4..at.checked_add(4)?.checked_add(size)?)?.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_can_be_read() {
        let list: List = vec![
            ("name", Value::Text("zones".into())),
            ("vdev_tree", Value::List(vec![("type", Value::Text("disk".into()))])),
            ("pool_guid", Value::Number(0x1234_5678_9abc_def0)),
        ];
        let bytes = pack(&list);
        assert_eq!(bytes[..12], [1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        let read = top(&bytes);
        assert_eq!(read[0], ("name".into(), Value::Text("zones".into())));
        assert_eq!(read[1], ("pool_guid".into(), Value::Number(0x1234_5678_9abc_def0)));
        assert!(top(&bytes[..30]).is_empty() && top(b"").is_empty());
    }
}
