//! The table of texts: English, then Korean (in 해요체, buttons and labels as nouns).

super::words! {
    /// Names the choice of a language.
    language: "Language", "언어";

    log_in: "Log in", "로그인";
    log_in_to: "to continue to {client}", "로그인하면 {client} 앱으로 이동해요.";
    email: "E-mail", "이메일";
    password: "Password", "비밀번호";
    example_account: "Example account", "예시 계정";
    login_wrong: "The e-mail address or the password is not right.",
        "이메일 또는 비밀번호가 맞지 않아요.";
    too_many: "Too many attempts. Try again in {seconds} s.",
        "시도 횟수가 너무 많아요. {seconds}초 뒤에 다시 시도해 주세요.";
    busy: "Many people are logging in right now. Try again in a moment.",
        "지금 로그인하는 사람이 많아요. 잠시 뒤에 다시 시도해 주세요.";

    choose_account: "Choose an account", "계정 선택";
    choose_account_to: "to continue to {client}", "계정을 선택하면 {client} 앱으로 이동해요.";
    another_account: "Another account", "다른 계정 사용";

    allow_title: "Allow access?", "접근을 허용할까요?";
    allow_who: "{client} asks to know who you are.", "{client} 앱이 내 정보를 요청하고 있어요.";
    allow_device: "A device is waiting for this with the code {code}. Allow it only if that code is on a screen in front of you.",
        "{code} 코드를 표시한 기기가 허용을 기다리고 있어요. 지금 보고 있는 기기의 화면에 같은 코드가 있을 때만 허용해 주세요.";
    allow_what: "You are logged in as {email}. The application will receive:",
        "{email} 계정으로 로그인되어 있어요. 앱은 다음 정보를 받아요.";
    ask_identifier: "an identifier of your account", "계정 식별자";
    ask_email: "your e-mail address", "이메일 주소";
    ask_name: "your name", "이름";
    ask_groups: "the groups you belong to", "소속 그룹";
    ask_offline: "access while you are away", "자리를 비운 동안의 접근 권한";
    ask_audience: "tokens for other applications", "다른 앱에서 쓸 수 있는 토큰";
    allow_online: "It has access for {time}.", "{time} 동안 접근할 수 있어요.";
    allow_offline: "It has access for {time} at most, until you take that back in your account.",
        "최대 {time} 동안 접근할 수 있어요. 그 전에 내 계정에서 취소할 수 있어요.";
    allow_remembered: "You are not asked again for {time}.", "{time} 동안 다시 묻지 않아요.";
    allow_again: "You are asked again at the next login.", "다음에 로그인할 때 다시 물어봐요.";
    days: "{count} days", "{count}일";
    hours: "{count} hours", "{count}시간";
    minutes: "{count} minutes", "{count}분";
    seconds: "{count} seconds", "{count}초";
    allow: "Allow", "허용";
    deny: "Deny", "거부";

    device_title: "Connect a device", "기기 연결";
    device_text: "Type the code that the device shows.", "기기에 표시된 코드를 입력해 주세요.";
    device_code: "Code", "코드";
    device_continue: "Continue", "계속";
    device_unknown: "No device is waiting with this code. Codes last a few minutes.",
        "이 코드로 기다리는 기기가 없어요. 코드는 몇 분 동안만 쓸 수 있어요.";
    device_over: "This device does not wait any more. Begin again there.",
        "기기가 더 이상 기다리지 않아요. 기기에서 다시 시작해 주세요.";
    device_done: "The device is connected", "기기를 연결했어요";
    device_done_text: "Go back to it: it goes on by itself in a few seconds. You can close this page.",
        "기기로 돌아가면 몇 초 안에 저절로 이어져요. 이 페이지는 닫아도 돼요.";
    device_refused: "The device was not connected", "기기를 연결하지 않았어요";
    device_refused_text: "Nothing was allowed. Begin again at the device if that was a mistake.",
        "아무것도 허용하지 않았어요. 잘못 눌렀다면 기기에서 다시 시작해 주세요.";

    login_by: "with {name}", "{name} 계정으로 로그인해 주세요.";
    other_way: "Log in another way", "다른 방법으로 로그인";
    choose_title: "How do you log in?", "어떻게 로그인할까요?";
    choose_local: "E-mail and password", "이메일과 비밀번호";
    name_wrong: "The name or the password is not right.", "이름 또는 비밀번호가 맞지 않아요.";
    no_way: "There is no way to log in", "로그인할 방법이 없어요";
    no_way_text: "The application may not be logged in to this way. Go back to it; if this page returns, its configuration has to be corrected.",
        "이 앱에는 이 방법으로 로그인할 수 없어요. 앱으로 돌아가 주세요. 이 페이지가 다시 나오면 앱의 설정을 고쳐야 해요.";
    upstream_down: "The other provider does not answer", "다른 로그인 서비스가 응답하지 않아요";
    upstream_down_text: "Nobody can say who you are at the moment. Go back to the application and try again in a moment.",
        "지금은 누구인지 확인할 수 없어요. 앱으로 돌아가 잠시 뒤에 다시 시도해 주세요.";
    upstream_bad: "The other login does not hold", "다른 서비스의 로그인을 믿을 수 없어요";
    upstream_bad_text: "What the other provider says of you is not enough, or cannot be trusted. Go back to the application and try again; if this page returns, tell whoever runs it.",
        "다른 서비스가 보낸 정보가 모자라거나 믿을 수 없어요. 앱으로 돌아가 다시 시도해 주세요. 이 페이지가 다시 나오면 앱 운영자에게 알려 주세요.";
    upstream_weak: "Your login was not strong enough", "더 안전한 로그인이 필요해요";
    upstream_weak_text: "The other provider did not say that you logged in as is asked for here, with a second factor for example. Set one up there, go back to the application and log in again; if this page returns, tell whoever runs it.",
        "다른 서비스에서 여기서 요구하는 방식(예: 두 번째 인증 수단)으로 로그인했다는 확인을 받지 못했어요. 그 서비스에서 인증 수단을 등록한 뒤 앱으로 돌아가 다시 로그인해 주세요. 이 페이지가 다시 나오면 앱 운영자에게 알려 주세요.";
    upstream_refused: "You may not log in here", "여기에는 로그인할 수 없어요";
    upstream_refused_text: "The other provider did not let you in, or you belong to none of the groups that are let in here. Ask whoever runs the application.",
        "다른 서비스가 로그인을 허락하지 않았거나 로그인할 수 있는 그룹에 속하지 않아요. 앱 운영자에게 물어보세요.";

    setup_title: "Set your password", "비밀번호 설정";
    setup_who: "for {email}", "{email} 계정의 비밀번호를 정해 주세요.";
    setup_first: "Set up the first account", "첫 계정 만들기";
    setup_first_text: "Nobody can log in here yet.", "아직 로그인할 수 있는 사람이 없어요.";
    setup_name: "Name", "이름";
    setup_rule: "At least {least} characters of any kind. A few words that nobody else would put together are easy to keep in mind.",
        "어떤 글자든 {least}자 이상이면 돼요. 아무도 함께 쓰지 않을 낱말 몇 개를 이으면 기억하기 쉬워요.";
    setup_short: "Still too short.", "아직 너무 짧아요.";
    setup_long: "Long enough.", "길이는 충분해요.";
    setup_again: "Password again", "비밀번호 다시 입력";
    setup_set: "Set password", "비밀번호 정하기";
    setup_email: "This is not an e-mail address.", "이메일 주소가 아니에요.";
    setup_empty: "A password is needed.", "비밀번호를 입력해 주세요.";
    setup_differ: "These were two passwords. Type the same one twice.",
        "두 비밀번호가 서로 달라요. 같은 비밀번호를 두 번 입력해 주세요.";
    weak_short: "This password is too short. Take at least {least} characters.",
        "비밀번호가 너무 짧아요. {least}자 이상으로 정해 주세요.";
    weak_long: "This password is too long.", "비밀번호가 너무 길어요.";
    weak_common: "This password is one of those that are tried first. Take one that nobody thinks of.",
        "누구나 먼저 시도하는 비밀번호예요. 아무도 떠올리지 못할 비밀번호로 정해 주세요.";
    weak_account: "This password is little more than your name. Take another one.",
        "계정 이름과 거의 같은 비밀번호예요. 다른 비밀번호로 정해 주세요.";
    weak_place: "This password is little more than names that everybody here knows. Take another one.",
        "이곳에서 누구나 아는 이름과 거의 같은 비밀번호예요. 다른 비밀번호로 정해 주세요.";
    setup_done: "Your password is set", "비밀번호를 정했어요";
    setup_done_text: "Go to the application and log in with it. Wherever you were logged in before, you are logged out.",
        "앱으로 가서 새 비밀번호로 로그인해 주세요. 전에 로그인한 곳에서는 모두 로그아웃되었어요.";
    link_over: "This link is not valid any more", "더 이상 쓸 수 없는 링크예요";
    link_over_text: "Such a link works once, for a day, and the newest one only. Ask who gave it to you for another one.",
        "링크는 하루 동안 한 번만 쓸 수 있고, 가장 새로운 링크만 쓸 수 있어요. 링크를 준 사람에게 새 링크를 부탁해 주세요.";

    logout_title: "Log out?", "로그아웃할까요?";
    logout_who: "You are logged in as {email}.", "{email} 계정으로 로그인되어 있어요.";
    log_out: "Log out", "로그아웃";
    stay: "Stay", "로그인 유지";
    logged_out: "You are logged out", "로그아웃했어요";
    logged_out_text: "Applications that you used may still have sessions of their own. Close the browser if others use this computer.",
        "사용하던 앱의 로그인은 따로 남아 있을 수 있어요. 여럿이 쓰는 컴퓨터라면 브라우저를 닫아 주세요.";
    stayed: "You are still logged in", "로그인을 유지했어요";
    stayed_text: "Nothing was changed. You can close this page.",
        "바뀐 것은 없어요. 이 페이지는 닫아도 돼요.";
    logout_bad: "This logout cannot be done", "로그아웃할 수 없어요";
    logout_bad_text: "The application asked for it in a way that cannot be trusted. Go back to it; to end the login here, open the address of this page without anything after the question mark.",
        "앱이 보낸 로그아웃 요청을 믿을 수 없어요. 앱으로 돌아가 주세요. 여기에서 로그아웃하려면 이 페이지 주소에서 물음표 뒤를 지우고 열어 주세요.";

    password_new: "New password", "새 비밀번호";

    or: "or", "또는";
    back: "Back", "돌아가기";
    remove: "Remove", "삭제";
    added_at: "Added {time}", "추가: {time}";

    second_title: "Confirm that it is you", "본인 확인";
    second_as: "You are logging in as {email}.", "{email} 계정으로 로그인하고 있어요.";
    second_passkey: "Use a passkey", "패스키 사용";
    second_code: "Code of your app", "앱에 표시된 코드";
    second_code_text: "Six digits that the authenticator app shows for this account.",
        "인증 앱에 이 계정으로 표시된 여섯 자리 숫자예요.";
    second_confirm: "Confirm", "확인";
    second_lost: "Use a recovery code", "복구 코드 사용";
    recovery_code: "Recovery code", "복구 코드";
    recovery_text: "One of the codes that you wrote down. It works once.",
        "적어 둔 코드 중 하나를 입력해 주세요. 코드마다 한 번만 쓸 수 있어요.";
    second_wrong: "This does not count, or was used already. Try again.",
        "맞지 않거나 이미 사용했어요. 다시 시도해 주세요.";
    code_wrong: "The code is not right. Type the one that the app shows now.",
        "코드가 맞지 않아요. 지금 앱에 표시된 코드를 입력해 주세요.";
    passkey_failed: "The passkey was not used. Try again, or choose another way.",
        "패스키를 사용하지 못했어요. 다시 시도하거나 다른 방법을 선택해 주세요.";
    passkey_missing: "This browser has no passkeys.", "이 브라우저에서는 패스키를 쓸 수 없어요.";
    passkey_script: "Passkeys need JavaScript. Other ways do not.",
        "패스키를 쓰려면 자바스크립트가 필요해요. 다른 방법은 없어도 돼요.";

    account: "Your account", "내 계정";
    account_as: "You are logged in as {email}.", "{email} 계정으로 로그인되어 있어요.";
    account_to: "to get to your account", "로그인하면 내 계정 페이지로 이동해요.";
    account_leave: "Done", "완료";
    account_left: "Your account is closed again", "계정 페이지를 닫았어요";
    account_left_text: "To change something, you have to log in again. You can close this page.",
        "다시 변경하려면 로그인해 주세요. 이 페이지는 닫아도 돼요.";
    done_password: "The password is changed. You are logged out everywhere else.",
        "비밀번호를 바꿨어요. 다른 곳에서는 모두 로그아웃되었어요.";
    done_session: "The session is ended.", "세션을 끝냈어요.";
    done_sessions: "All other sessions are ended.", "다른 세션을 모두 끝냈어요.";
    done_app: "Logins ask for a code of your app from now on.", "이제 로그인할 때 앱의 코드를 물어봐요.";
    done_passkey: "Logins ask for your passkey from now on.", "이제 로그인할 때 패스키를 물어봐요.";
    done_application: "The application has no access any more.", "앱의 접근 권한을 없앴어요.";
    done_removed: "It is removed.", "삭제했어요.";

    account_elsewhere: "Your password and second factors are kept at {name}, and changed there.",
        "비밀번호와 2단계 인증은 {name}에서 관리해요. 바꾸려면 그곳에서 바꿔 주세요.";
    password_about: "Changing it logs you out everywhere else.", "바꾸면 다른 곳에서는 모두 로그아웃돼요.";
    password_elsewhere: "It is part of the configuration. Ask whoever runs this place to change it.",
        "설정 파일에 있는 비밀번호예요. 바꾸려면 운영자에게 문의해 주세요.";
    password_change: "Change the password", "비밀번호 변경";
    password_old: "Current password", "현재 비밀번호";
    password_old_wrong: "The current password is not right.", "현재 비밀번호가 맞지 않아요.";
    password_effect: "You stay logged in here and are logged out everywhere else.",
        "여기에서는 로그인이 유지되고 다른 곳에서는 모두 로그아웃돼요.";

    second_factors: "Second factors", "2단계 인증";
    second_about: "What a login asks for after the password.", "비밀번호 다음에 한 번 더 확인하는 방법이에요.";
    app: "Authenticator app", "인증 앱";
    app_add: "Add an authenticator app", "인증 앱 추가";
    app_replace: "Use another app", "다른 인증 앱 사용";
    app_scan: "Scan the picture with the app, then type the code that it shows.",
        "앱으로 그림을 스캔한 다음 앱에 표시된 코드를 입력해 주세요.";
    app_secret: "Or type this key into the app (time-based, six digits):",
        "스캔할 수 없으면 앱에 이 키를 입력해 주세요. 시간 기반, 여섯 자리예요.";
    enrol_text: "Logins here take a second factor, and you have none yet. An authenticator app on your telephone is one.",
        "여기에 로그인하려면 2단계 인증이 필요해요. 휴대전화의 인증 앱을 등록해 주세요.";
    app_use: "Use this app", "이 앱 사용";
    passkey: "Passkey", "패스키";
    passkey_add: "Add a passkey", "패스키 추가";
    passkey_about: "A key on this device, on a telephone or on a security key. It works for this site only.",
        "이 기기나 휴대전화, 보안 키에 보관하는 열쇠예요. 이 사이트에서만 쓸 수 있어요.";
    passkey_name: "Name", "이름";
    passkey_name_text: "To tell it apart from others, such as: blue key.", "다른 패스키와 구별할 이름이에요. 예: 파란 보안 키";
    passkey_make: "Make a passkey", "패스키 만들기";
    passkey_wrong: "The answer of the browser does not count. Try again.",
        "브라우저의 응답을 인정할 수 없어요. 다시 시도해 주세요.";
    passkey_full: "There are ten passkeys already. Remove one first.",
        "패스키가 이미 열 개 있어요. 먼저 하나를 삭제해 주세요.";
    passkey_nowhere: "Browsers have passkeys only for addresses with a name, over HTTPS.",
        "패스키는 이름이 있는 보안 주소에서만 쓸 수 있어요.";
    recovery_codes: "Recovery codes", "복구 코드";
    codes_left: "{count} left", "{count}개 남음";
    codes_new: "New codes", "새 코드 발급";
    codes_text: "Each of these works once in the place of a second factor, when you do not have it at hand.",
        "2단계 인증 수단이 없을 때 대신 쓸 수 있는 코드예요. 코드마다 한 번만 쓸 수 있어요.";
    codes_once: "They are shown only now, and all codes of before have ended. Write them down or print this page.",
        "지금만 볼 수 있어요. 이전 코드는 더 이상 쓸 수 없으니 적어 두거나 이 페이지를 인쇄해 주세요.";
    codes_kept: "I have written them down", "적어 두었어요";

    sessions: "Sessions", "로그인 세션";
    sessions_about: "Where you are logged in.", "로그인되어 있는 곳이에요.";
    session_current: "this browser", "이 브라우저";
    session_began: "Since {time}", "시작: {time}";
    session_used: "used {time}", "마지막 사용: {time}";
    session_end: "End", "끝내기";
    sessions_end: "End all others", "다른 세션 모두 끝내기";
    browser_unknown: "Unknown browser", "알 수 없는 브라우저";

    applications: "Applications", "앱";
    applications_about: "What you allowed. An application that you remove has to ask again.",
        "접근을 허용한 앱이에요. 삭제한 앱은 다시 허용을 받아야 해요.";
    application_offline: "access while you are away", "자리를 비운 동안의 접근 권한";
    application_known: "asks no more whether it may know who you are", "내 정보를 다시 묻지 않고 받는 앱";

    start_again: "Start again", "다시 시작";
    restart: "This login has to start again", "로그인을 다시 시작해야 해요";
    restart_text: "It took too long, or it was begun in another browser. If this page returns, allow cookies for this site.",
        "시간이 너무 오래 지났거나 다른 브라우저에서 시작한 로그인이에요. 이 페이지가 다시 나오면 이 사이트의 쿠키를 허용해 주세요.";
    login_invalid: "This login is not valid", "올바른 로그인이 아니에요";
    login_invalid_text: "The address of this page is damaged or was not made here. Go back to the application and log in again.",
        "페이지 주소가 손상되었거나 여기에서 만든 주소가 아니에요. 앱으로 돌아가 다시 로그인해 주세요.";

    refused: "This login cannot start", "로그인을 시작할 수 없어요";
    refused_unreadable: "You were sent here to log in, but the request cannot be read. Go back to the application and try again; if this page returns, its configuration has to be corrected.",
        "앱이 보낸 로그인 요청을 읽을 수 없어요. 앱으로 돌아가 다시 시도해 주세요. 이 페이지가 다시 나오면 앱의 설정을 고쳐야 해요.";
    refused_invalid: "You were sent here to log in, but the request is not valid. Go back to the application and try again; if this page returns, its configuration has to be corrected.",
        "앱이 보낸 로그인 요청이 올바르지 않아요. 앱으로 돌아가 다시 시도해 주세요. 이 페이지가 다시 나오면 앱의 설정을 고쳐야 해요.";
    refused_nameless: "You were sent here to log in, but the request does not name an application. Go back to the application and try again; if this page returns, its configuration has to be corrected.",
        "로그인 요청에 앱의 이름이 없어요. 앱으로 돌아가 다시 시도해 주세요. 이 페이지가 다시 나오면 앱의 설정을 고쳐야 해요.";
    refused_unknown: "You were sent here to log in, but the application is not known here. Go back to the application and try again; if this page returns, its configuration has to be corrected.",
        "여기에 등록되지 않은 앱이에요. 앱으로 돌아가 다시 시도해 주세요. 이 페이지가 다시 나오면 앱의 설정을 고쳐야 해요.";
    refused_nowhere: "You were sent here to log in, but the request does not say where to go. Go back to the application and try again; if this page returns, its configuration has to be corrected.",
        "로그인 요청에 돌아갈 주소가 없어요. 앱으로 돌아가 다시 시도해 주세요. 이 페이지가 다시 나오면 앱의 설정을 고쳐야 해요.";
    refused_elsewhere: "You were sent here to log in, but the application has not registered the address it names. Go back to the application and try again; if this page returns, its configuration has to be corrected.",
        "앱이 등록하지 않은 주소로 돌아가려고 해요. 앱으로 돌아가 다시 시도해 주세요. 이 페이지가 다시 나오면 앱의 설정을 고쳐야 해요.";
    refused_method: "The application sent you here in a way that is not understood. Go back to it and try again.",
        "앱이 보낸 방식을 이해할 수 없어요. 앱으로 돌아가 다시 시도해 주세요.";

    crossed: "This form was sent by another site", "다른 사이트에서 보낸 양식이에요";
    crossed_text: "Only the pages here may send it. Go back to the application and try again.",
        "이곳의 페이지에서만 보낼 수 있어요. 앱으로 돌아가 다시 시도해 주세요.";
    form_bad: "This form cannot be read", "양식을 읽을 수 없어요";
    form_bad_text: "The form did not arrive as it was sent. Go back and try again.",
        "양식이 온전히 도착하지 않았어요. 뒤로 돌아가 다시 시도해 주세요.";
    failed: "Something went wrong here", "문제가 생겼어요";
    failed_text: "The identity provider could not do what you asked for. Go back and try again in a moment.",
        "요청을 처리하지 못했어요. 뒤로 돌아가 잠시 뒤에 다시 시도해 주세요.";
    away: "Nobody can log in just now", "지금은 로그인할 수 없어요";
    away_text: "The place where logins are kept does not answer. Who is logged in stays logged in. Try again in a minute.",
        "로그인 정보를 보관하는 곳이 응답하지 않아요. 이미 로그인한 상태는 그대로예요. 잠시 뒤에 다시 시도해 주세요.";
    missing: "There is no such page", "페이지가 없어요";
    missing_text: "The identity provider has nothing at this address.", "이 주소에는 아무것도 없어요.";
    wrong_method: "This does not work here", "여기에서는 할 수 없어요";
    wrong_method_text: "The address exists, but not for this kind of request.",
        "주소는 맞지만 이런 방식의 요청은 받지 않아요.";
    too_large: "This request is too large", "요청이 너무 커요";
    too_large_text: "It did not arrive whole, or is larger than anything expected here.",
        "요청이 온전히 도착하지 않았거나 받을 수 있는 크기를 넘었어요.";
    for_operator: "For whoever runs the application: {detail}", "앱 운영자에게 전할 내용: {detail}";
    in_log: "In the log under {reference}", "로그 참조 번호: {reference}";
}
