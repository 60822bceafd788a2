<?php

return [
    'default' => 'sqlite',
    'connections' => [
        'sqlite' => ['driver' => 'sqlite', 'database' => env('DB_DATABASE', storage_path('app/database.sqlite')), 'prefix' => ''],
    ],
    'migrations' => 'migrations',
];
