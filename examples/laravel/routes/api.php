<?php

use App\Http\Controllers\ApiController;
use App\Http\Controllers\PageController;
use Illuminate\Support\Facades\Route;

Route::get('/products/{page?}', [ApiController::class, 'products'])->whereNumber('page');
Route::any('/echo', [ApiController::class, 'echo']);
Route::get('/state', [ApiController::class, 'state']);
Route::post('/validated', [ApiController::class, 'validated']);
Route::get('/broken', [ApiController::class, 'broken']);
Route::post('/upload', [PageController::class, 'upload']);
