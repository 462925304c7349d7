//! What the page says, in the languages that it speaks.

/// All texts of one language. In [`Words::invited`] and the like, `{}` is the host name.
#[derive(Debug)]
pub struct Words {
    pub language: &'static str,
    pub title: &'static str,
    pub invited: &'static str,
    /// `{who}` invites to `{}`.
    pub invited_by: &'static str,
    pub what: &'static str,
    pub app_title: &'static str,
    pub app_text: &'static str,
    pub android: &'static str,
    pub apple: &'static str,
    pub computer: &'static str,
    pub open: &'static str,
    pub scan: &'static str,
    pub scan_label: &'static str,
    pub here_title: &'static str,
    pub here_text: &'static str,
    pub name: &'static str,
    pub name_hint: &'static str,
    pub password: &'static str,
    pub password_hint: &'static str,
    pub create: &'static str,
    pub until: &'static str,
    pub free: &'static str,
    pub taken: &'static str,
    pub bad_name: &'static str,
    pub bad_password: &'static str,
    pub short_password: &'static str,
    pub busy: &'static str,
    pub done_title: &'static str,
    pub done_text: &'static str,
    pub done_next: &'static str,
    pub browser: &'static str,
    pub gone_title: &'static str,
    pub gone_text: &'static str,
    pub again: &'static str,
    /// A new password for `{}`.
    pub choose_title: &'static str,
    pub choose_text: &'static str,
    pub save: &'static str,
    pub changed_title: &'static str,
    pub changed_text: &'static str,
    /// The page is good until `{}`.
    pub choose_until: &'static str,
    pub contact_until: &'static str,
    /// The page of the host `{}` itself.
    pub front_title: &'static str,
    pub front_closed: &'static str,
    pub front_apps: &'static str,
    pub open_title: &'static str,
    pub many: &'static str,
}

/// What was wrong with a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    Name,
    Taken,
    Password,
    ShortPassword,
    Busy,
    /// Enough accounts were made for today.
    Many,
}

impl Problem {
    /// The status of the page that tells it.
    pub fn status(self) -> u16 {
        match self {
            Problem::Taken => 409,
            Problem::Busy => 503,
            Problem::Many => 429,
            Problem::Name | Problem::Password | Problem::ShortPassword => 422,
        }
    }

    /// In words.
    pub fn told(self, words: &'static Words) -> &'static str {
        match self {
            Problem::Name => words.bad_name,
            Problem::Taken => words.taken,
            Problem::Password => words.bad_password,
            Problem::ShortPassword => words.short_password,
            Problem::Busy => words.busy,
            Problem::Many => words.many,
        }
    }

    /// Whether it is about the name.
    pub fn is_about_name(self) -> bool {
        matches!(self, Problem::Name | Problem::Taken)
    }
}

/// English.
pub static ENGLISH: Words = Words {
    language: "en",
    title: "You are invited",
    invited: "You are invited to chat on {}",
    invited_by: "{who} invites you to chat on {}",
    what: "A chat of our own: no telephone number, no advertising, and it works with many apps.",
    app_title: "1. Get an app",
    app_text: "Any of these will do; the first is the one for this device.",
    android: "for Android",
    apple: "for iPhone and iPad",
    computer: "for computers",
    open: "Open the invitation in the app",
    scan: "On another device? Scan this code there.",
    scan_label: "Code with the address of this page",
    here_title: "2. Or make your account here",
    here_text: "Then sign in with it in any app.",
    name: "Name",
    name_hint: "Your address will be name@{}",
    password: "Password",
    password_hint: "At least 8 characters. Three or four words are easy to remember and hard to guess.",
    create: "Make my account",
    until: "The invitation is good for one account, until {}.",
    free: "This name is free.",
    taken: "Somebody has this name. Choose another.",
    bad_name: "A name has letters, digits, dots or hyphens, and no blanks.",
    bad_password: "This password cannot be used. Choose another.",
    short_password: "The password is too short: at least 8 characters.",
    busy: "Too much is going on right now. Try again in a moment.",
    done_title: "Welcome",
    done_text: "Your address is",
    done_next: "Sign in with it and your password in the app of your choice.",
    browser: "Chat in this browser",
    gone_title: "This invitation is not good any more",
    gone_text: "It was used, or it is too old. Ask whoever gave it to you for another one.",
    again: "Go back and try again",
    choose_title: "A new password for {}",
    choose_text: "All devices are signed out when it is saved, and sign in again with the new one.",
    save: "Save the password",
    changed_title: "The password is saved",
    changed_text: "Sign in with it on all your devices:",
    choose_until: "This page is good for one password, until {}.",
    contact_until: "The invitation is good for one contact, until {}.",
    front_title: "Chat on {}",
    front_closed: "Accounts are made by invitation here. Ask somebody who has one for a link.",
    front_apps: "Sign in with an app",
    open_title: "Make an account",
    many: "Enough accounts were made here today. Try again tomorrow, or ask for an invitation.",
};

/// Italian.
pub static ITALIAN: Words = Words {
    language: "it",
    title: "Sei stato invitato",
    invited: "Ti invitano a chattare su {}",
    invited_by: "{who} ti invita a chattare su {}",
    what: "Una chat tutta nostra: senza numero di telefono, senza pubblicità, e funziona con molte app.",
    app_title: "1. Scarica un'app",
    app_text: "Una qualsiasi va bene; la prima è quella per questo dispositivo.",
    android: "per Android",
    apple: "per iPhone e iPad",
    computer: "per computer",
    open: "Apri l'invito nell'app",
    scan: "Su un altro dispositivo? Inquadra lì questo codice.",
    scan_label: "Codice con l'indirizzo di questa pagina",
    here_title: "2. Oppure crea qui il tuo account",
    here_text: "Poi accedi da qualsiasi app.",
    name: "Nome",
    name_hint: "Il tuo indirizzo sarà nome@{}",
    password: "Password",
    password_hint: "Almeno 8 caratteri. Tre o quattro parole si ricordano bene e si indovinano male.",
    create: "Crea il mio account",
    until: "L'invito vale per un solo account, fino al {}.",
    free: "Questo nome è libero.",
    taken: "Questo nome è già di qualcuno. Scegline un altro.",
    bad_name: "Un nome ha lettere, cifre, punti o trattini, e nessuno spazio.",
    bad_password: "Questa password non si può usare. Scegline un'altra.",
    short_password: "La password è troppo corta: almeno 8 caratteri.",
    busy: "In questo momento c'è troppo da fare. Riprova tra poco.",
    done_title: "Benvenuto",
    done_text: "Il tuo indirizzo è",
    done_next: "Accedi con l'indirizzo e la password nell'app che preferisci.",
    browser: "Chatta in questo browser",
    gone_title: "Questo invito non vale più",
    gone_text: "È già stato usato o è troppo vecchio. Chiedine un altro a chi te l'ha dato.",
    again: "Torna indietro e riprova",
    choose_title: "Una nuova password per {}",
    choose_text: "Quando la salvi, tutti i dispositivi vengono scollegati e accedono di nuovo con quella nuova.",
    save: "Salva la password",
    changed_title: "La password è salvata",
    changed_text: "Accedi con questa su tutti i tuoi dispositivi:",
    choose_until: "Questa pagina vale per una sola password, fino al {}.",
    contact_until: "L'invito vale per un solo contatto, fino al {}.",
    front_title: "Chat su {}",
    front_closed: "Qui ci si registra su invito. Chiedi un link a chi ha già un account.",
    front_apps: "Accedi con un'app",
    open_title: "Crea un account",
    many: "Per oggi qui sono stati creati abbastanza account. Riprova domani, o chiedi un invito.",
};

/// The language that is wished for most among those that are spoken here (RFC 9110 §12.5.4).
pub fn choose(accept: Option<&str>) -> &'static Words {
    let quality = |wanted: &str| {
        let ranges = accept.unwrap_or_default().split(',').take(32).filter_map(|range| {
            let mut parts = range.split(';');
            let language = parts.next()?.trim();
            let is_it = language.split('-').next().is_some_and(|main| main.eq_ignore_ascii_case(wanted));
            let quality = parts.find_map(|part| part.trim().strip_prefix("q=")?.parse::<f32>().ok()).unwrap_or(1.0);
            is_it.then_some(quality)
        });
        ranges.fold(0.0, f32::max)
    };
    if quality("it") > quality("en") { &ITALIAN } else { &ENGLISH }
}
