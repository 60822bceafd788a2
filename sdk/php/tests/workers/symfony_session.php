<?php

declare(strict_types=1);

use Edge\Session\Handler;
use Symfony\Component\HttpFoundation\Session\Session;
use Symfony\Component\HttpFoundation\Session\Storage\NativeSessionStorage;

require __DIR__ . '/../bootstrap.php';

$options = ['use_cookies' => '0', 'use_strict_mode' => '0', 'cache_limiter' => ''];
$session = new Session(new NativeSessionStorage($options, new Handler('main', 60)));
$session->setId('abcdef');
$session->start();
$session->set('count', $session->get('count', 0) + 1);
$session->save();
echo $session->get('count');
