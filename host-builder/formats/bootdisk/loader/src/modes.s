# The second stage from real mode to long mode, from there to the firmware and back, and out to the kernel.
#
# Everything that decides something is Rust and runs in 64-bit long mode with interrupts off and the first 4
# GiB mapped one to one. The firmware is only reachable from real mode, so every call of it leaves long mode
# and comes back.

.set CODE64, 0x08
.set DATA32, 0x10
.set CODE16, 0x18
.set DATA16, 0x20
.set CODE32, 0x28

.set PAGE_TABLES, 0x20000           # six pages; see src/memory.rs
.set LONG_MODE_STACK, 0x40000
.set REAL_MODE_STACK, 0x7C00

.set REGISTERS_SIZE, 32            # the structure Registers in src/firmware.rs

.set EFER, 0xC0000080
.set EFER_LME, 0x100
.set CR0_PE, 1
.set CR0_PG, 0x80000000
.set CR4_PAE, 0x20

.section .stage2, "awx"
.code16

.global stage2_start
stage2_start:
    # SmartOS is 64-bit only, and so is this loader: a processor without long mode is told apart here.
    mov     eax, 0x80000000
    cpuid
    cmp     eax, 0x80000001
    jb      no_long_mode
    mov     eax, 0x80000001
    cpuid
    test    edx, 1 << 29
    jz      no_long_mode

    # One page of level 4, one of level 3, and four of level 2 with 512 pages of 2 MiB each.
    mov     ax, PAGE_TABLES >> 4
    mov     es, ax
    xor     di, di
    xor     eax, eax
    mov     cx, 6 * 4096 / 4
    rep     stosd
    mov     dword ptr es:[0], PAGE_TABLES + 0x1000 + 3
    mov     dword ptr es:[0x1000], PAGE_TABLES + 0x2000 + 3
    mov     dword ptr es:[0x1008], PAGE_TABLES + 0x3000 + 3
    mov     dword ptr es:[0x1010], PAGE_TABLES + 0x4000 + 3
    mov     dword ptr es:[0x1018], PAGE_TABLES + 0x5000 + 3
    mov     di, 0x2000
    mov     eax, 0x83               # present, writable, 2 MiB
    mov     cx, 4 * 512
map_next:
    mov     es:[di], eax
    add     di, 8
    add     eax, 0x200000
    loop    map_next

    mov     dword ptr [long_mode_target], offset first_long_mode
    jmp     enter_long_mode

no_long_mode:
    mov     si, offset no_long_mode_text
    jmp     refuse

no_long_mode_text:
    .asciz  "kiln: this processor has no 64-bit mode.\r\n"

# From real mode to the address in long_mode_target. Interrupts stay off as long as the firmware is out of
# reach.
enter_long_mode:
    cli
    xor     ax, ax
    mov     ds, ax
    # The firmware may have loaded a table of its own meanwhile.
    lgdt    [gdt_pointer]
    mov     eax, cr4
    or      eax, CR4_PAE
    mov     cr4, eax
    mov     eax, PAGE_TABLES
    mov     cr3, eax
    mov     ecx, EFER
    rdmsr
    or      eax, EFER_LME
    wrmsr
    mov     eax, cr0
    or      eax, CR0_PG | CR0_PE
    mov     cr0, eax
    .byte   0x66, 0xEA              # a far jump with a 32-bit offset
    .4byte  in_long_mode
    .2byte  CODE64

.code64
in_long_mode:
    mov     ax, DATA32
    mov     ds, ax
    mov     es, ax
    mov     ss, ax
    mov     eax, [long_mode_target]
    jmp     rax

first_long_mode:
    mov     esp, LONG_MODE_STACK
    movzx   edi, byte ptr [boot_drive]
    call    stage2_main

# extern "sysv64" fn firmware_call(registers: *mut Registers)
#
# Copies the registers to memory that real mode can reach, calls the firmware, and copies the results back.
.global firmware_call
firmware_call:
    push    rbx
    push    rbp
    push    r12
    push    r13
    push    r14
    push    r15
    push    rdi
    mov     rsi, rdi
    mov     edi, offset registers
    mov     ecx, REGISTERS_SIZE
    rep     movsb
    mov     [long_mode_stack], esp
    mov     dword ptr [long_mode_target], offset back_in_long_mode
    push    CODE16
    push    offset leave_long_mode
    retfq

back_in_long_mode:
    mov     esp, [long_mode_stack]
    pop     rdi
    mov     esi, offset registers
    mov     ecx, REGISTERS_SIZE
    cld
    rep     movsb
    pop     r15
    pop     r14
    pop     r13
    pop     r12
    pop     rbp
    pop     rbx
    ret

.code16
# In compatibility mode with a 16-bit segment: switching paging off ends long mode.
leave_long_mode:
    mov     ax, DATA16
    mov     ds, ax
    mov     es, ax
    mov     ss, ax
    mov     eax, cr0
    and     eax, ~CR0_PG
    mov     cr0, eax
    mov     ecx, EFER
    rdmsr
    and     eax, ~EFER_LME
    wrmsr
    mov     eax, cr0
    and     eax, ~CR0_PE
    mov     cr0, eax
    .byte   0xEA                    # a far jump loads CS the way real mode wants it
    .2byte  in_real_mode, 0

in_real_mode:
    xor     ax, ax
    mov     ds, ax
    mov     es, ax
    mov     ss, ax
    mov     sp, REAL_MODE_STACK
    lidt    [real_mode_vectors]
    mov     al, [register_vector]
    test    al, al
    jz      wait_for_interrupt
    mov     [interrupt_instruction + 1], al
    mov     eax, [register_eax]
    mov     ebx, [register_ebx]
    mov     ecx, [register_ecx]
    mov     edx, [register_edx]
    mov     esi, [register_esi]
    mov     edi, [register_edi]
    sti
    # The jump makes processors that fetched ahead see the changed number.
    jmp     interrupt_instruction
interrupt_instruction:
    int     0
    cli
    pushfd
    mov     cs:[register_eax], eax
    pop     eax
    mov     cs:[register_eflags], eax
    mov     cs:[register_ebx], ebx
    mov     cs:[register_ecx], ecx
    mov     cs:[register_edx], edx
    jmp     enter_long_mode

# "Vector 0" lets the processor sleep until the next interrupt, at the latest the timer's 55 ms later.
wait_for_interrupt:
    sti
    hlt
    jmp     enter_long_mode

# extern "sysv64" fn start_kernel(entry: u32, information: u32) -> !
#
# The state that Multiboot 1 asks for: 32-bit protected mode, flat segments, paging off, interrupts off.
.code64
.global start_kernel
start_kernel:
    push    CODE32
    push    offset leave_for_kernel
    retfq

.code32
leave_for_kernel:
    mov     ax, DATA32
    mov     ds, ax
    mov     es, ax
    mov     fs, ax
    mov     gs, ax
    mov     ss, ax
    mov     eax, cr0
    and     eax, ~CR0_PG
    mov     cr0, eax
    mov     ecx, EFER
    rdmsr
    and     eax, ~EFER_LME
    wrmsr
    mov     eax, cr4
    and     eax, ~CR4_PAE
    mov     cr4, eax
    mov     ebx, esi
    mov     eax, 0x2BADB002
    jmp     edi

# Data that more than one mode uses.
.balign 8
gdt:
    .8byte  0
    .8byte  0x00AF9A000000FFFF      # CODE64
    .8byte  0x00CF92000000FFFF      # DATA32
    .8byte  0x00009A000000FFFF      # CODE16
    .8byte  0x000092000000FFFF      # DATA16
    .8byte  0x00CF9A000000FFFF      # CODE32
gdt_pointer:
    .2byte  gdt_pointer - gdt - 1
    .4byte  gdt
real_mode_vectors:
    .2byte  0x3FF
    .4byte  0

.balign 4
long_mode_target:
    .4byte  0
long_mode_stack:
    .4byte  0

# The same order as the structure Registers in src/firmware.rs.
registers:
register_eax:
    .4byte  0
register_ebx:
    .4byte  0
register_ecx:
    .4byte  0
register_edx:
    .4byte  0
register_esi:
    .4byte  0
register_edi:
    .4byte  0
register_eflags:
    .4byte  0
register_vector:
    .4byte  0

# One entry of the firmware's memory map, low enough for a 16-bit pointer.
.balign 8
.global map_entry
map_entry:
    .skip   24

.code64
