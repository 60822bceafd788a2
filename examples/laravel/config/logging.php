<?php

return [
    'default' => 'stderr',
    'deprecations' => 'null',
    'channels' => [
        // Edge takes what workers write to standard error into its own log.
        'stderr' => ['driver' => 'monolog', 'handler' => Monolog\Handler\StreamHandler::class, 'with' => ['stream' => 'php://stderr']],
        'null' => ['driver' => 'monolog', 'handler' => Monolog\Handler\NullHandler::class],
        'emergency' => ['path' => storage_path('logs/laravel.log')],
    ],
];
