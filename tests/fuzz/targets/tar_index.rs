//! Tar archives that are only looked into: whatever an archive says, its index can be walked, searched and read.
#![no_main]

use kiln::contents::source::Source;
use kiln::contents::tar::TarTree;
use kiln::contents::tree::{self, Tree as _};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Ok(tree) = TarTree::open(Source::new(input.to_vec(), input.len() as u64)) else { return };
    let root = tree.root().expect("an index has a root");
    let mut things = 0;
    let walked = tree::walk(&*tree, &root, &mut |node| {
        things += 1;
        let found = tree::find(&*tree, &node.path, false)?;
        // A name of two dots is shown as it is, but leads upward in a path.
        if !tree::components(&node.path).any(|name| name == b"..") {
            assert_eq!(found.expect("what is listed is found").path, node.path);
        }
        if node.is_file() {
            assert!(tree.contents(node)?.head(4096)?.len() as u64 <= node.metadata.size);
        }
        Ok(())
    });
    // Contents may end early; nothing else can go wrong behind the index.
    assert!(walked.is_ok() || things > 0);
    assert!(things <= 1 + input.len(), "more things than bytes that name them");
});
