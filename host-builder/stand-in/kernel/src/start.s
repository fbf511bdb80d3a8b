# The Multiboot header and the way from 32-bit protected mode to Rust.

.set LOAD_ADDRESS, 0xC00000 - 0x1000    # kernel.ld: the segment lies 4096 bytes into the file
.set UNPACKED, 0x400000                 # where the illumos kernel unpacks itself, up to 12 MiB
.set UNPACKED_END, 0xC00000
.set PAGE_TABLES, 0x500000
.set STACK, 0x700000

.set EFER, 0xC0000080

.section .start, "awx"
.code32
.global start
start:
    jmp     enter

.balign 4
.set HEADER_MAGIC, 0x1BADB002
.set HEADER_FLAGS, 0x00010003
header:
    .4byte  HEADER_MAGIC
    .4byte  HEADER_FLAGS
    .4byte  -(HEADER_MAGIC + HEADER_FLAGS)
    .4byte  header
    .4byte  LOAD_ADDRESS
    .4byte  0                           # load the whole file
    .4byte  0                           # clear nothing
    .4byte  start

enter:
    cli
    cld
    mov     edx, eax                    # the loader's magic number
    mov     esi, ebx                    # its information

    # A loader must not have put anything here: illumos would overwrite it, so this kernel does.
    mov     edi, UNPACKED
    mov     ecx, (UNPACKED_END - UNPACKED) / 4
    mov     eax, 0xDEADBEEF
    rep     stosd

    # The first 4 GiB, one to one, in pages of 2 MiB: one table of level 4, one of level 3, four of level 2.
    mov     edi, PAGE_TABLES
    mov     ecx, 6 * 4096 / 4
    xor     eax, eax
    rep     stosd
    mov     dword ptr [PAGE_TABLES], PAGE_TABLES + 0x1003
    mov     dword ptr [PAGE_TABLES + 0x1000], PAGE_TABLES + 0x2003
    mov     dword ptr [PAGE_TABLES + 0x1008], PAGE_TABLES + 0x3003
    mov     dword ptr [PAGE_TABLES + 0x1010], PAGE_TABLES + 0x4003
    mov     dword ptr [PAGE_TABLES + 0x1018], PAGE_TABLES + 0x5003
    mov     edi, PAGE_TABLES + 0x2000
    mov     eax, 0x83
    mov     ecx, 4 * 512
map_next:
    mov     [edi], eax
    add     edi, 8
    add     eax, 0x200000
    loop    map_next

    mov     eax, cr4
    or      eax, 0x20                   # PAE
    mov     cr4, eax
    mov     eax, PAGE_TABLES
    mov     cr3, eax
    mov     edi, edx
    mov     ecx, EFER
    rdmsr
    or      eax, 0x100                  # LME
    wrmsr
    lgdt    [gdt_pointer]
    mov     eax, cr0
    or      eax, 0x80000000             # PG
    mov     cr0, eax
    .byte   0xEA                        # a far jump to the 64-bit segment
    .4byte  in_long_mode
    .2byte  0x08

.code64
in_long_mode:
    xor     eax, eax
    mov     ds, ax
    mov     es, ax
    mov     ss, ax
    mov     esp, STACK
    mov     edi, edi                    # clears the upper halves of the two arguments
    mov     esi, esi
    call    kernel_main

.balign 8
gdt:
    .8byte  0
    .8byte  0x00AF9A000000FFFF
gdt_pointer:
    .2byte  gdt_pointer - gdt - 1
    .4byte  gdt
