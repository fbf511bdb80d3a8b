# The first sector. The firmware loads it to 0x7C00, starts it in real mode and passes the boot drive in DL.
#
# It sets up the first serial port, reads the second stage and the table behind it in one go, and jumps there.
# Bytes 0x1B8 to 0x1FF of the sector are the disk signature, the partition table and the boot signature: no
# code may be there.

.section .mbr, "awx"
.code16

.global mbr_start
mbr_start:
    jmp     mbr_code

# The disk address packet of INT 13h AH=42h. The second stage uses the same sixteen bytes for its own reads.
.org 0x04
.global disk_packet
disk_packet:
    .byte   16, 0
    .2byte  65                      # sectors: LBA 1 to 65
    .2byte  0x7E00, 0               # offset and segment of the buffer
    .8byte  1                       # first LBA

.global boot_drive
boot_drive:
    .byte   0

# Pairs of port (the low byte; the high byte is 3) and value which set COM1 to 115200 bits per second, eight
# data bits, no parity, one stop bit, with FIFO and without interrupts. The second serial port carries guest
# metadata: no port of it (0x2F8 to 0x2FF) is ever touched.
com1_setup:
    .byte   0xFB, 0x80              # the divisor latch is open
    .byte   0xF8, 1
    .byte   0xF9, 0
    .byte   0xFB, 0x03              # 8n1, the latch is closed
    .byte   0xF9, 0                 # no interrupts
    .byte   0xFA, 0x07              # FIFO on and empty
    .byte   0xFC, 0x03              # DTR and RTS
com1_setup_end:

# SmartOS tells versions of its boot disks by these two bytes: 3, 2 is a GRUB-era key with its FAT in
# partition 1.
.org 0x3E
    .byte   3, 2

mbr_code:
    cli
    cld
    xor     ax, ax
    mov     ds, ax
    mov     es, ax
    mov     ss, ax
    mov     sp, 0x7C00
    sti
    # Some firmware starts the sector at 07C0:0000; this makes it 0000:7C00.
    .byte   0xEA
    .2byte  normalised, 0

normalised:
    mov     [boot_drive], dl

    mov     si, offset com1_setup
    mov     dh, 3
set_up_com1:
    lodsw
    mov     dl, al
    mov     al, ah
    out     dx, al
    cmp     si, offset com1_setup_end
    jne     set_up_com1

    mov     ah, 0x41
    mov     bx, 0x55AA
    mov     dl, [boot_drive]
    int     0x13
    jc      no_extensions
    cmp     bx, 0xAA55
    jne     no_extensions
    test    cl, 1
    jz      no_extensions

    mov     si, offset disk_packet
    mov     ah, 0x42
    mov     dl, [boot_drive]
    int     0x13
    jc      unreadable
    jmp     stage2_start

no_extensions:
    mov     si, offset no_extensions_text
    jmp     refuse
unreadable:
    mov     si, offset unreadable_text

# Prints the text at SI and stops for good: there is no menu to return to yet.
.global refuse
refuse:
    call    print
stop:
    sti
    hlt
    jmp     stop

# Prints the zero-terminated text at DS:SI on the screen and on COM1.
print:
    lodsb
    test    al, al
    jz      print_end
    push    si
    push    ax
    mov     ah, 0x0E
    mov     bx, 7
    int     0x10
    # A port that is not there reads as 0xFF; one that never gets ready must not hang the machine.
    xor     cx, cx
    mov     dx, 0x3FD
wait_com1:
    in      al, dx
    cmp     al, 0xFF
    je      next_character
    test    al, 0x20
    loopz   wait_com1
    jz      next_character
    pop     ax
    push    ax
    mov     dl, 0xF8
    out     dx, al
next_character:
    pop     ax
    pop     si
    jmp     print
print_end:
    ret

no_extensions_text:
    .asciz  "kiln: the firmware cannot read this disk by LBA (no INT 13h extensions).\r\n"
unreadable_text:
    .asciz  "kiln: disk read error at LBA 1.\r\n"

# The last byte of code must lie below 0x1B8; the assembler refuses to move backwards when it does not.
.org 0x1B8
.org 0x200
