<?php

declare(strict_types=1);

// Stands in for Composer where the tests run: it loads what Debian's packages put into /usr/share/php, and the application's own
// classes. Like an optimized autoloader of Composer's it looks nothing up on disk that a path says already. A vendor/autoload.php
// that the tests write calls it; no user sees it.
return static function (string $project): bool {
    $debian = '/usr/share/php';
    spl_autoload_register(static function (string $class) use ($debian, $project): void {
        $path = strtr($class, '\\', '/') . '.php';
        if (str_starts_with($class, 'App\\')) {
            // src/ as Symfony has it, app/ as Laravel.
            $own = substr($path, 4);
            foreach (["$project/src/$own", "$project/app/$own"] as $file) {
                if (is_file($file)) {
                    require $file;

                    return;
                }
            }

            return;
        }
        $file = "$debian/$path";
        if (str_starts_with($class, 'Illuminate\\Support\\') && !is_file($file)) {
            // One namespace, three packages.
            $rest = substr($path, strlen('Illuminate/Support/'));
            $file = is_file("$debian/Illuminate/Collections/$rest") ? "$debian/Illuminate/Collections/$rest" : "$debian/Illuminate/Macroable/$rest";
        }
        if (is_file($file)) {
            require $file;
        }
    });
    require dirname(__DIR__, 2) . '/sdk/php/autoload.php';

    // Functions, which Composer would load as "files".
    $always = ['Symfony/Contracts/Deprecation/function.php', 'Symfony/Component/String/Resources/functions.php'];
    $laravel = ['Illuminate/Collections/helpers.php', 'Illuminate/Events/functions.php', 'Illuminate/Support/helpers.php'];
    $full = ['Illuminate/Foundation/helpers.php'];
    $lumen = ['FastRoute/functions.php', 'Laravel/Lumen/helpers.php'];
    $files = match (true) {
        is_file("$project/artisan") => [...$always, ...$laravel, ...$full],
        is_file("$project/lumen") => [...$always, ...$laravel, ...$lumen],
        default => $always,
    };
    foreach ($files as $file) {
        if (is_file("$debian/$file")) {
            require_once "$debian/$file";
        }
    }

    return false;
};
