<?php
// What tests of classic mode ask for: scripts as they are written for php-fpm.
$path = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
switch ($path) {
    case '/server':
        header('Content-Type: application/json');
        echo json_encode($_SERVER);
        break;
    case '/pid':
        echo getmypid();
        break;
    case '/parent':
        echo posix_getppid();
        break;
    case '/session':
        session_save_path($_GET['dir']);
        session_start();
        echo $_SESSION['n'] = ($_SESSION['n'] ?? 0) + 1;
        break;
    case '/exit':
        echo 'before';
        exit(3);
    case '/redirect':
        header('Location: /elsewhere?a=1');
        exit;
    case '/status':
        http_response_code(418);
        header('X-Twice: 1');
        header('X-Twice: 2', false);
        setcookie('a', 'b');
        setcookie('c', 'd');
        echo 'teapot';
        break;
    case '/late':
        ini_set('display_errors', '1');
        while (ob_get_level()) {
            ob_end_flush();
        }
        echo 'body';
        flush();
        header('X-Late: 1');
        break;
    case '/fatal':
        undefined_function();
    case '/sleep':
        sleep((int) $_GET['s']);
        echo 'slept';
        break;
    case '/spin':
        usleep((int) $_GET['us']);
        echo 'ok';
        break;
    case '/kill':
        posix_kill(getmypid(), 9);
    case '/stream':
        header('Content-Type: text/event-stream');
        for ($i = 0; $i < (int) $_GET['n']; $i++) {
            echo "data: $i\n\n";
            @ob_flush();
            flush();
            usleep((int) $_GET['us']);
        }
        break;
    case '/abort':
        ignore_user_abort((bool) $_GET['ignore']);
        while (ob_get_level()) {
            ob_end_flush();
        }
        register_shutdown_function(fn () => file_put_contents($_GET['note'], "aborted:" . connection_aborted()));
        for ($i = 0; $i < 100 && !connection_aborted(); $i++) {
            echo str_repeat('x', 1000);
            flush();
            usleep(20000);
        }
        usleep(50000);
        break;
    case '/big':
        echo str_repeat('0123456789', (int) $_GET['n'] / 10);
        break;
    case '/length':
        header('Content-Length: 5');
        echo 'short';
        break;
    case '/upload':
        header('Content-Type: application/json');
        echo json_encode([$_POST, array_map(fn ($f) => [$f['name'], $f['size'], $f['error'], md5_file($f['tmp_name'])], $_FILES)]);
        break;
    case '/body':
        echo $_SERVER['CONTENT_LENGTH'], ' ', md5_file('php://input');
        break;
    case '/unread':
        echo 'not read';
        break;
    case '/stderr':
        file_put_contents('php://stderr', "said on stderr\n");
        error_log('said to the log');
        echo 'ok';
        break;
    case '/env':
        echo getenv('CLASSIC_TEST');
        break;
    case '/badheader':
        header('X-Bad: a' . chr(1) . 'b');
        echo 'x';
        break;
    default:
        echo 'front ', $_SERVER['REQUEST_URI'], ' ', $_SERVER['SCRIPT_NAME'], ' ', $_SERVER['PATH_INFO'] ?? '-';
}
