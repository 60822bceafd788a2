<?php

declare(strict_types=1);

use Edge\Session\Handler;

require __DIR__ . '/../../autoload.php';

// Adds to a counter in the session that it is given, slowly.
ini_set('session.use_cookies', '0');
ini_set('session.use_strict_mode', '0');
ini_set('session.cache_limiter', '');
session_set_save_handler(new Handler('main', 60), true);
session_id($argv[1]);
session_start();
$count = $_SESSION['count'] ?? 0;
usleep(20_000);
$_SESSION['count'] = $count + 1;
session_write_close();
echo $_SESSION['count'];
