<?php

namespace App\Providers;

use Illuminate\Foundation\Support\Providers\RouteServiceProvider as ServiceProvider;
use Illuminate\Support\Facades\Route;

/** That of the example, with the routes of the tests. */
class RouteServiceProvider extends ServiceProvider
{
    public function register(): void
    {
        parent::register();
        // As many packages do: $this->app is the application that booted.
        $this->app->bind('stain.of.the.provider', fn () => $this->app['request']->fullUrl());
    }

    public function boot(): void
    {
        $url = $this->app['url'];
        $this->app->instance('keeps.url', $url);
        $this->routes(static function (): void {
            Route::middleware('api')->prefix('api')->group(base_path('routes/api.php'));
            Route::middleware('api')->prefix('test')->group(base_path('routes/test.php'));
            Route::middleware('web')->group(base_path('routes/web.php'));
        });
    }
}
