/* What illumos programs know of disks: usr/src/uts/common/sys/dkio.h. DKIOC is 0x04 << 8. */
#pragma once
#include <stdint.h>

#define IL_DKIOCREMOVABLE 0x0410
#define IL_DKIOCGMEDIAINFO 0x042a
#define IL_DK_FIXED_DISK 0x10001
struct il_dk_minfo {
	uint32_t media_type, block_size;
	uint64_t blocks;
};
_Static_assert(sizeof(struct il_dk_minfo) == 16, "sys/dkio.h, struct dk_minfo");
