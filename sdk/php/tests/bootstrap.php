<?php

declare(strict_types=1);

require __DIR__ . '/../autoload.php';

// PSR packages: Composer's, or those of the distribution in PHP's include path.
if (is_file(__DIR__ . '/../vendor/autoload.php')) {
    require __DIR__ . '/../vendor/autoload.php';
} else {
    foreach ([
        'Psr/SimpleCache/autoload.php', 'Psr/Cache/autoload.php', 'Nyholm/Psr7/autoload.php',
        'Symfony/Component/HttpFoundation/autoload.php', 'Symfony/Component/Cache/autoload.php', 'Illuminate/autoload.php',
        'Cache/TagInterop/autoload.php', 'Cache/IntegrationTests/autoload.php',
    ] as $file) {
        if (stream_resolve_include_path($file) !== false) {
            require_once $file;
        }
    }
}
if (!interface_exists(Psr\Http\Server\RequestHandlerInterface::class)) {
    require __DIR__ . '/Psr15Interfaces.php';
}
require __DIR__ . '/Pack.php';
