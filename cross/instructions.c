/* A plugin of QEMU's user emulation that counts instructions of the program, and writes the number to out=… at its end.
 *
 * Debian ships no qemu-plugin.h; what is used of it (QEMU 7.2, version 1 of the interface) is declared here. The counter is
 * not atomic: threads that run at the same moment may lose counts. Lampone does its work on one.
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

struct qemu_plugin_tb;
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t id, void (*call)(uint64_t, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *tb, int op, void *counter, uint64_t add);
void qemu_plugin_register_atexit_cb(uint64_t id, void (*call)(uint64_t, void *), void *data);

__attribute__((visibility("default"))) int qemu_plugin_version = 1;
static uint64_t count;
static char file[4096];

static void translated(uint64_t id, struct qemu_plugin_tb *tb) {
    (void)id;
    qemu_plugin_register_vcpu_tb_exec_inline(tb, 0, &count, qemu_plugin_tb_n_insns(tb));
}

static void ended(uint64_t id, void *data) {
    (void)id;
    (void)data;
    FILE *out = fopen(file, "w");
    if (out) {
        fprintf(out, "%llu\n", (unsigned long long)count);
        fclose(out);
    }
}

__attribute__((visibility("default"))) int qemu_plugin_install(uint64_t id, const void *info, int words, char **word) {
    (void)info;
    if (words < 1 || strncmp(word[0], "out=", 4) != 0) return -1;
    snprintf(file, sizeof file, "%s", word[0] + 4);
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_atexit_cb(id, ended, NULL);
    return 0;
}
