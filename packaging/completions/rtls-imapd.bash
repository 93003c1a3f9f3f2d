# bash completion for rtls-imapd

_rtls_imapd() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} word
	local -a words=()
	local before=
	for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
		[[ $word == -* || $before == --config || $before == -c || $before == --password-file || $before == --special-use || $before == --mbox || $before == --maildir || $before == --imap || $before == --login || $before == --password-credential || $before == --mailbox || $before == --ca ]] || words+=("$word")
		before=$word
	done
	local users='rtls-imapd user list'
	case $prev in
	--maildir)
		COMPREPLY=($(compgen -d -- "$cur"))
		return
		;;
	--config | -c | --password-file | --mbox | --ca)
		COMPREPLY=($(compgen -f -- "$cur"))
		return
		;;
	esac
	case "${words[*]}" in
	'') COMPREPLY=($(compgen -W "user ban who kick store audit quota mailbox export import --config --check-config --version --help" -- "$cur")) ;;
	user) COMPREPLY=($(compgen -W "add passwd list disable enable rm app-password" -- "$cur")) ;;
	'user list' | 'ban list') COMPREPLY=($(compgen -W "--json --config" -- "$cur")) ;;
	'user add') COMPREPLY=($(compgen -W "--password-file --no-password --no-scram --config" -- "$cur")) ;;
	'user passwd') COMPREPLY=($(compgen -W "--password-file --no-scram $($users 2>/dev/null | cut -d' ' -f1)" -- "$cur")) ;;
	'user app-password') COMPREPLY=($(compgen -W "add list revoke" -- "$cur")) ;;
	'user disable' | 'user enable' | 'user rm' | 'user app-password '*)
		if ((${#words[@]} == 2 || ${#words[@]} == 3 && ${#words[1]} == 12)); then
			COMPREPLY=($(compgen -W "$($users 2>/dev/null | cut -d' ' -f1)" -- "$cur"))
		elif [[ ${words[2]} == revoke ]]; then
			COMPREPLY=($(compgen -W "$(rtls-imapd user app-password list "${words[3]}" 2>/dev/null | cut -d' ' -f1)" -- "$cur"))
		fi
		;;
	ban) COMPREPLY=($(compgen -W "list lift" -- "$cur")) ;;
	'ban lift') COMPREPLY=($(compgen -W "$(rtls-imapd ban list 2>/dev/null | tr -s ' ' | cut -d' ' -f2)" -- "$cur")) ;;
	who) COMPREPLY=($(compgen -W "--json --config" -- "$cur")) ;;
	kick) COMPREPLY=($(compgen -W "$(rtls-imapd who 2>/dev/null | sed 1d | awk '{ print $1; if ($2 != "-") print $2 }')" -- "$cur")) ;;
	mailbox) COMPREPLY=($(compgen -W "list create delete rename subscribe unsubscribe" -- "$cur")) ;;
	'mailbox '*) ((${#words[@]} != 2)) || COMPREPLY=($(compgen -W "--json --special-use $($users 2>/dev/null | cut -d' ' -f1)" -- "$cur")) ;;
	import | 'import '*)
		((${#words[@]} > 1)) && users=
		COMPREPLY=($(compgen -W "--mbox --maildir --imap --login --password-file --password-credential --mailbox --starttls --ca --quiet --json $($users 2>/dev/null | cut -d' ' -f1)" -- "$cur"))
		;;
	export | 'export '*)
		((${#words[@]} > 1)) && users=
		COMPREPLY=($(compgen -W "--mbox --maildir $($users 2>/dev/null | cut -d' ' -f1)" -- "$cur"))
		;;
	quota) COMPREPLY=($(compgen -W "--json $($users 2>/dev/null | cut -d' ' -f1)" -- "$cur")) ;;
	store) COMPREPLY=($(compgen -W "check repair rebuild index" -- "$cur")) ;;
	'store '*) COMPREPLY=($(compgen -W "--rebuild --quiet --json $($users 2>/dev/null | cut -d' ' -f1)" -- "$cur") $(compgen -d -- "$cur")) ;;
	esac
}
complete -F _rtls_imapd rtls-imapd
