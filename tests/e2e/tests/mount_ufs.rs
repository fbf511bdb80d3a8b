//! The Linux UFS driver mounts boot archives and sees the tree that is in them.

use kiln_harness::guest::Guest;
use kiln_harness::{fixtures, scratch};

