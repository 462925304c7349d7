# Completions of lampone for bash, written from its help.
_lampone() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} words=
    case $prev in
        --config | --from | --ca) mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
        --data) mapfile -t COMPREPLY < <(compgen -d -- "$cur"); return ;;
    esac
    case $COMP_CWORD:${COMP_WORDS[1]}:${COMP_WORDS[2]-} in
        1:*) words='serve check doctor user status backup invite announce bench plan version --help --version' ;;
        2:user:*) words='add passwd reset-link remove disable enable list show devices revoke empty-archive --help' ;;
        *:user:add) words='--admin --password-stdin --from --config --domain --data --set --help' ;;
        *:user:passwd) words='--password-stdin --config --domain --data --set --help' ;;
        *:user:reset-link) words='--config --domain --data --set --help' ;;
        *:user:remove) words='--config --domain --data --set --help' ;;
        *:user:disable) words='--config --domain --data --set --help' ;;
        *:user:enable) words='--config --domain --data --set --help' ;;
        *:user:list) words='--config --domain --data --set --help' ;;
        *:user:show) words='--config --domain --data --set --help' ;;
        *:user:devices) words='--config --domain --data --set --help' ;;
        *:user:revoke) words='--config --domain --data --set --help' ;;
        *:user:empty-archive) words='--config --domain --data --set --help' ;;
        *:serve:*) words='--config --domain --data --set --help' ;;
        *:check:*) words='--keys --config --domain --data --set --help' ;;
        *:doctor:*) words='--config --domain --data --set --help' ;;
        *:status:*) words='--link --config --domain --data --set --help' ;;
        *:backup:*) words='--config --domain --data --set --help' ;;
        *:invite:*) words='--admin --config --domain --data --set --help' ;;
        *:announce:*) words='--config --domain --data --set --help' ;;
        *:bench:*) words='--only --make --unmake --accounts --sign-ins --idle --seconds --messages --mechanism --ca --pid --direct --unacknowledged --mine --yes --config --domain --data --set --help' ;;
        *:plan:*) words='--help' ;;
        *:version:*) words='--help' ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}
complete -o default -F _lampone lampone
