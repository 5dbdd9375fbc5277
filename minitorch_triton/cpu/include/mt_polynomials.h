/* Polynomials of mt_math.h.  Written by tools/fit_math.py; do not edit. */

#ifndef MT_POLYNOMIALS_H
#define MT_POLYNOMIALS_H

/* exp(x) = 1 + x + x^2 P(x); -0.346658 <= x <= 0.346658,
 * error 2^-28.3. */
MT_FN float mt_poly_exp_f32_(float x) {
    float p = 0x1.6a4f1ap-10f;
    p = MT_FMA_f32(p, x, 0x1.123982p-7f);
    p = MT_FMA_f32(p, x, 0x1.5558aep-5f);
    p = MT_FMA_f32(p, x, 0x1.555492p-3f);
    p = MT_FMA_f32(p, x, 0x1.fffffcp-2f);
    return p;
}

/* 2^x = 1 + x P(x); -0.5 <= x <= 0.5,
 * error 2^-28.3. */
MT_FN float mt_poly_exp2_f32_(float x) {
    float p = 0x1.417a5cp-13f;
    p = MT_FMA_f32(p, x, 0x1.5f0946p-10f);
    p = MT_FMA_f32(p, x, 0x1.3b2dd2p-7f);
    p = MT_FMA_f32(p, x, 0x1.c6af7ap-5f);
    p = MT_FMA_f32(p, x, 0x1.ebfbdcp-3f);
    p = MT_FMA_f32(p, x, 0x1.62e43p-1f);
    return p;
}

/* 10^x = 1 + x P(x); -0.150552 <= x <= 0.150552,
 * error 2^-28.5. */
MT_FN float mt_poly_exp10_f32_(float x) {
    float p = 0x1.a63fep-3f;
    p = MT_FMA_f32(p, x, 0x1.156a2ep-1f);
    p = MT_FMA_f32(p, x, 0x1.2bd9fcp+0f);
    p = MT_FMA_f32(p, x, 0x1.046f9cp+1f);
    p = MT_FMA_f32(p, x, 0x1.53524ap+1f);
    p = MT_FMA_f32(p, x, 0x1.26bb1cp+1f);
    return p;
}

/* exp(x) - 1 = x + x^2 P(x); -0.346658 <= x <= 0.346658,
 * error 2^-26.1. */
MT_FN float mt_poly_expm1_f32_(float x) {
    const float x2 = x * x;
    float p = 0x1.6b7326p-10f;
    p = MT_FMA_f32(p, x2, MT_FMA_f32(0x1.122668p-7f, x, 0x1.555716p-5f));
    p = MT_FMA_f32(p, x2, MT_FMA_f32(0x1.5554b2p-3f, x, 0x1.fffffep-2f));
    return p;
}

/* log(1 + x) = x - x^2/2 + x^3 P(x); -0.292893 <= x <= 0.414214,
 * error 2^-27.4. */
MT_FN float mt_poly_log_f32_(float x) {
    float p = -0x1.38c8e6p-4f;
    p = MT_FMA_f32(p, x, 0x1.055e94p-3f);
    p = MT_FMA_f32(p, x, -0x1.0d824cp-3f);
    p = MT_FMA_f32(p, x, 0x1.22d932p-3f);
    p = MT_FMA_f32(p, x, -0x1.54728ap-3f);
    p = MT_FMA_f32(p, x, 0x1.99a01cp-3f);
    p = MT_FMA_f32(p, x, -0x1.000226p-2f);
    p = MT_FMA_f32(p, x, 0x1.555554p-2f);
    return p;
}

/* log2(1 + x) = x P(x); -0.292893 <= x <= 0.414214,
 * error 2^-26.2. */
MT_FN float mt_poly_log2_f32_(float x) {
    float p = -0x1.7a49a6p-4f;
    p = MT_FMA_f32(p, x, 0x1.602094p-3f);
    p = MT_FMA_f32(p, x, -0x1.88dc06p-3f);
    p = MT_FMA_f32(p, x, 0x1.a87f6cp-3f);
    p = MT_FMA_f32(p, x, -0x1.eb272ep-3f);
    p = MT_FMA_f32(p, x, 0x1.2751c2p-2f);
    p = MT_FMA_f32(p, x, -0x1.7156d2p-2f);
    p = MT_FMA_f32(p, x, 0x1.ec71a2p-2f);
    p = MT_FMA_f32(p, x, -0x1.715476p-1f);
    p = MT_FMA_f32(p, x, 0x1.715476p+0f);
    return p;
}

/* log10(1 + x) = x P(x); -0.292893 <= x <= 0.414214,
 * error 2^-25.4. */
MT_FN float mt_poly_log10_f32_(float x) {
    float p = -0x1.91e524p-5f;
    p = MT_FMA_f32(p, x, 0x1.01d0bep-4f);
    p = MT_FMA_f32(p, x, -0x1.b92404p-5f);
    p = MT_FMA_f32(p, x, 0x1.ebb08ep-5f);
    p = MT_FMA_f32(p, x, -0x1.2899ccp-4f);
    p = MT_FMA_f32(p, x, 0x1.64463ap-4f);
    p = MT_FMA_f32(p, x, -0x1.bcb6aep-4f);
    p = MT_FMA_f32(p, x, 0x1.287906p-3f);
    p = MT_FMA_f32(p, x, -0x1.bcb7b2p-3f);
    p = MT_FMA_f32(p, x, 0x1.bcb7b2p-2f);
    return p;
}

/* tanh(sqrt(x)) = sqrt(x) (1 + x P(x)); 9.09495e-13 <= x <= 0.030043,
 * error 2^-32.5. */
MT_FN float mt_poly_tanh_f32_(float x) {
    float p = -0x1.afe082p-5f;
    p = MT_FMA_f32(p, x, 0x1.1105ap-3f);
    p = MT_FMA_f32(p, x, -0x1.55554ep-2f);
    return p;
}

/* erf(x) = 1 - exp(-x (0x1.20dd76p+0 + P(x))); 9.09495e-13 <= x <= 4,
 * error 2^-27.9. */
MT_FN float mt_poly_erf_f32_(float x) {
    const float x2 = x * x;
    float p = -0x1.36deb4p-17f;
    p = MT_FMA_f32(p, x2, MT_FMA_f32(0x1.edbdd8p-14f, x, -0x1.4beebep-11f));
    p = MT_FMA_f32(p, x2, MT_FMA_f32(0x1.b52268p-10f, x, -0x1.5173d4p-13f));
    p = MT_FMA_f32(p, x2, MT_FMA_f32(-0x1.39cc9ap-6f, x, 0x1.a4fa4ap-4f));
    p = MT_FMA_f32(p, x2, MT_FMA_f32(0x1.45f2fap-1f, x, -0x1.d0ecaep-25f));
    return p;
}

/* sin(sqrt(x)) = sqrt(x) (1 + x P(x)); 9.09495e-13 <= x <= 0.617152,
 * error 2^-27.9. */
MT_FN float mt_poly_sin_f32_(float x) {
    float p = -0x1.9953f4p-13f;
    p = MT_FMA_f32(p, x, 0x1.110778p-7f);
    p = MT_FMA_f32(p, x, -0x1.555546p-3f);
    return p;
}

/* cos(sqrt(x)) = 1 - x/2 + x^2 P(x); 9.09495e-13 <= x <= 0.617152,
 * error 2^-33.0. */
MT_FN float mt_poly_cos_f32_(float x) {
    float p = 0x1.99e90cp-16f;
    p = MT_FMA_f32(p, x, -0x1.6c0c2ap-10f);
    p = MT_FMA_f32(p, x, 0x1.55554ap-5f);
    return p;
}

/* asin(sqrt(x)) = sqrt(x) (1 + x P(x)); 9.09495e-13 <= x <= 0.25,
 * error 2^-27.6. */
MT_FN float mt_poly_asin_f32_(float x) {
    float p = 0x1.59594ep-5f;
    p = MT_FMA_f32(p, x, 0x1.8c41a8p-6f);
    p = MT_FMA_f32(p, x, 0x1.747b6ep-5f);
    p = MT_FMA_f32(p, x, 0x1.330206p-4f);
    p = MT_FMA_f32(p, x, 0x1.5555c8p-3f);
    return p;
}

/* atan(sqrt(x)) = sqrt(x) (1 + x P(x)); 9.09495e-13 <= x <= 1,
 * error 2^-28.5. */
MT_FN float mt_poly_atan_f32_(float x) {
    float p = -0x1.d4782ap-10f;
    p = MT_FMA_f32(p, x, 0x1.64b212p-7f);
    p = MT_FMA_f32(p, x, -0x1.fdefc4p-6f);
    p = MT_FMA_f32(p, x, 0x1.da59eap-5f);
    p = MT_FMA_f32(p, x, -0x1.581456p-4f);
    p = MT_FMA_f32(p, x, 0x1.c08f2ep-4f);
    p = MT_FMA_f32(p, x, -0x1.2420b4p-3f);
    p = MT_FMA_f32(p, x, 0x1.9991e6p-3f);
    p = MT_FMA_f32(p, x, -0x1.55553ep-2f);
    return p;
}

/* exp(x) = 1 + x + x^2 P(x); -0.346658 <= x <= 0.346658,
 * error 2^-57.9. */
MT_FN double mt_poly_exp_f64_(double x) {
    double p = 0x1.ada844d44d875p-26;
    p = MT_FMA_f64(p, x, 0x1.28ae06e2b4c4ap-22);
    p = MT_FMA_f64(p, x, 0x1.71df0ac5d184ap-19);
    p = MT_FMA_f64(p, x, 0x1.a019995564041p-16);
    p = MT_FMA_f64(p, x, 0x1.a01a0136ac9c9p-13);
    p = MT_FMA_f64(p, x, 0x1.6c16c18479f13p-10);
    p = MT_FMA_f64(p, x, 0x1.11111111255a3p-7);
    p = MT_FMA_f64(p, x, 0x1.55555555506b3p-5);
    p = MT_FMA_f64(p, x, 0x1.5555555555504p-3);
    p = MT_FMA_f64(p, x, 0x1.000000000000ap-1);
    return p;
}

/* tanh(sqrt(x)) = sqrt(x) (1 + x P(x)); 9.09495e-13 <= x <= 0.4225,
 * error 2^-59.8. */
MT_FN double mt_poly_tanh_f64_(double x) {
    double p = 0x1.78acb8e49d09bp-18;
    p = MT_FMA_f64(p, x, -0x1.e9b1962a5d4fap-16);
    p = MT_FMA_f64(p, x, 0x1.7bc4da7081322p-14);
    p = MT_FMA_f64(p, x, -0x1.efcff9b0ef53cp-13);
    p = MT_FMA_f64(p, x, 0x1.34edc8356cf6p-11);
    p = MT_FMA_f64(p, x, -0x1.7d989955ab0dfp-10);
    p = MT_FMA_f64(p, x, 0x1.d6d31033a2b06p-9);
    p = MT_FMA_f64(p, x, -0x1.226e30de8a8a6p-7);
    p = MT_FMA_f64(p, x, 0x1.664f48606b401p-6);
    p = MT_FMA_f64(p, x, -0x1.ba1ba1b981fd8p-5);
    p = MT_FMA_f64(p, x, 0x1.111111111065p-3);
    p = MT_FMA_f64(p, x, -0x1.555555555554dp-2);
    return p;
}

/* log((1 + s)/(1 - s)) = s (2 + x P(x)) with x = s^2; 9.09495e-13 <= x <= 0.0294373,
 * error 2^-59.5. */
MT_FN double mt_poly_log_f64_(double x) {
    double p = 0x1.2f020d3f5215cp-3;
    p = MT_FMA_f64(p, x, 0x1.39a211e6d38dcp-3);
    p = MT_FMA_f64(p, x, 0x1.74663b6be4ff5p-3);
    p = MT_FMA_f64(p, x, 0x1.c71c521afc57ep-3);
    p = MT_FMA_f64(p, x, 0x1.24924941da78ap-2);
    p = MT_FMA_f64(p, x, 0x1.999999997ff6bp-2);
    p = MT_FMA_f64(p, x, 0x1.5555555555592p-1);
    return p;
}

/* log2((1 + s)/(1 - s)) = s P(x) with x = s^2, for pow of floats; 9.09495e-13 <= x <= 0.0294373,
 * error 2^-45.1. */
MT_FN double mt_poly_pow_log2_f64_(double x) {
    double p = 0x1.21b065957f18fp-2;
    p = MT_FMA_f64(p, x, 0x1.47955eb3ae92bp-2);
    p = MT_FMA_f64(p, x, 0x1.a61a2e9ad321dp-2);
    p = MT_FMA_f64(p, x, 0x1.2776c29370135p-1);
    p = MT_FMA_f64(p, x, 0x1.ec709dc53c492p-1);
    p = MT_FMA_f64(p, x, 0x1.71547652b8251p+1);
    return p;
}

/* 2^x = P(x), for pow of floats; -0.5 <= x <= 0.5,
 * error 2^-29.0. */
MT_FN double mt_poly_pow_exp2_f64_(double x) {
    double p = 0x1.41d2ed60d7e7ep-13;
    p = MT_FMA_f64(p, x, 0x1.5f4569b4be69cp-10);
    p = MT_FMA_f64(p, x, 0x1.3b2dbc27125fcp-7);
    p = MT_FMA_f64(p, x, 0x1.c6aed4bb64044p-5);
    p = MT_FMA_f64(p, x, 0x1.ebfbdadc1f35dp-3);
    p = MT_FMA_f64(p, x, 0x1.62e430c7e7073p-1);
    p = MT_FMA_f64(p, x, 0x1.0000000261832p+0);
    return p;
}

/* sin(sqrt(x)) = sqrt(x) P(x), for tan of floats; 9.09495e-13 <= x <= 0.617152,
 * error 2^-37.7. */
MT_FN double mt_poly_tan_sin_f64_(double x) {
    double p = 0x1.6cb0032c106c2p-19;
    p = MT_FMA_f64(p, x, -0x1.a00ec44b04e4ap-13);
    p = MT_FMA_f64(p, x, 0x1.11110714b064bp-7);
    p = MT_FMA_f64(p, x, -0x1.55555548dd115p-3);
    p = MT_FMA_f64(p, x, 0x1.fffffffff5f87p-1);
    return p;
}

/* cos(sqrt(x)) = P(x), for tan of floats; 9.09495e-13 <= x <= 0.617152,
 * error 2^-34.1. */
MT_FN double mt_poly_tan_cos_f64_(double x) {
    double p = 0x1.98e6eeca56014p-16;
    p = MT_FMA_f64(p, x, -0x1.6c06e7508146ep-10);
    p = MT_FMA_f64(p, x, 0x1.5555389a5a557p-5);
    p = MT_FMA_f64(p, x, -0x1.ffffffb63eadp-2);
    p = MT_FMA_f64(p, x, 0x1.ffffffff8466cp-1);
    return p;
}

/* atan(sqrt(x)) = sqrt(x) P(x), for atan2 of floats; 9.09495e-13 <= x <= 1,
 * error 2^-31.3. */
MT_FN double mt_poly_atan_f64_(double x) {
    double p = 0x1.1dff2b99f867ep-10;
    p = MT_FMA_f64(p, x, -0x1.d7c792ece1254p-8);
    p = MT_FMA_f64(p, x, 0x1.6cec123f2efd4p-6);
    p = MT_FMA_f64(p, x, -0x1.6b5d41725a982p-5);
    p = MT_FMA_f64(p, x, 0x1.13165d4466fa1p-4);
    p = MT_FMA_f64(p, x, -0x1.68654ff5cf3fdp-4);
    p = MT_FMA_f64(p, x, 0x1.c4cab6302ee42p-4);
    p = MT_FMA_f64(p, x, -0x1.246fe8f452646p-3);
    p = MT_FMA_f64(p, x, 0x1.999786bd87f1ep-3);
    p = MT_FMA_f64(p, x, -0x1.55554f05edfddp-2);
    p = MT_FMA_f64(p, x, 0x1.fffffffccdf11p-1);
    return p;
}

/* 2^(e - 23) 2/pi modulo 4 in two parts, for -30 <= e <= 127. */
static const double mt_two_over_pi_upper_[] = {
    0x1.45f306ep-54,
    0x1.45f306ep-53,
    0x1.45f306ep-52,
    0x1.45f306ep-51,
    0x1.45f306ep-50,
    0x1.45f306ep-49,
    0x1.45f306ep-48,
    0x1.45f306ep-47,
    0x1.45f306ep-46,
    0x1.45f306ep-45,
    0x1.45f306ep-44,
    0x1.45f306ep-43,
    0x1.45f306ep-42,
    0x1.45f306ep-41,
    0x1.45f306ep-40,
    0x1.45f306ep-39,
    0x1.45f306ep-38,
    0x1.45f306ep-37,
    0x1.45f306ep-36,
    0x1.45f306ep-35,
    0x1.45f306ep-34,
    0x1.45f306ep-33,
    0x1.45f306ep-32,
    0x1.45f306ep-31,
    0x1.45f306ep-30,
    0x1.45f306ep-29,
    0x1.45f306ep-28,
    0x1.45f306ep-27,
    0x1.45f306ep-26,
    0x1.45f306ep-25,
    0x1.45f306ep-24,
    0x1.45f306ep-23,
    0x1.45f306ep-22,
    0x1.45f306ep-21,
    0x1.45f306ep-20,
    0x1.45f306ep-19,
    0x1.45f306ep-18,
    0x1.45f306ep-17,
    0x1.45f306ep-16,
    0x1.45f306ep-15,
    0x1.45f306ep-14,
    0x1.45f306ep-13,
    0x1.45f306ep-12,
    0x1.45f306ep-11,
    0x1.45f306ep-10,
    0x1.45f306ep-9,
    0x1.45f306ep-8,
    0x1.45f306ep-7,
    0x1.45f306ep-6,
    0x1.45f306ep-5,
    0x1.45f306ep-4,
    0x1.45f306ep-3,
    0x1.45f306ep-2,
    0x1.45f306ep-1,
    0x1.45f306ep+0,
    0x1.45f306ep+1,
    0x1.17cc1b7p+0,
    0x1.17cc1b7p+1,
    0x1.7cc1b72p-2,
    0x1.7cc1b72p-1,
    0x1.7cc1b72p+0,
    0x1.7cc1b72p+1,
    0x1.f306dcap+0,
    0x1.f306dcap+1,
    0x1.e60db94p+1,
    0x1.cc1b727p+1,
    0x1.9836e4ep+1,
    0x1.306dc9dp+1,
    0x1.836e4e4p-1,
    0x1.836e4e4p+0,
    0x1.836e4e4p+1,
    0x1.06dc9c9p+1,
    0x1.b727221p-4,
    0x1.b727221p-3,
    0x1.b727221p-2,
    0x1.b727221p-1,
    0x1.b727221p+0,
    0x1.b727221p+1,
    0x1.6e4e441p+1,
    0x1.b939105p+0,
    0x1.b939105p+1,
    0x1.727220bp+1,
    0x1.c9c882ap+0,
    0x1.c9c882ap+1,
    0x1.9391055p+1,
    0x1.27220a9p+1,
    0x1.391054ap-1,
    0x1.391054ap+0,
    0x1.391054ap+1,
    0x1.c882a54p-1,
    0x1.c882a54p+0,
    0x1.c882a54p+1,
    0x1.91054a8p+1,
    0x1.220a95p+1,
    0x1.1054a7fp-1,
    0x1.1054a7fp+0,
    0x1.1054a7fp+1,
    0x1.054a7f1p-2,
    0x1.054a7f1p-1,
    0x1.054a7f1p+0,
    0x1.054a7f1p+1,
    0x1.529fc27p-4,
    0x1.529fc27p-3,
    0x1.529fc27p-2,
    0x1.529fc27p-1,
    0x1.529fc27p+0,
    0x1.529fc27p+1,
    0x1.4a7f09dp+0,
    0x1.4a7f09dp+1,
    0x1.29fc275p+0,
    0x1.29fc275p+1,
    0x1.4fe13acp-1,
    0x1.4fe13acp+0,
    0x1.4fe13acp+1,
    0x1.3f84ebp+0,
    0x1.3f84ebp+1,
    0x1.fc2757dp-1,
    0x1.fc2757dp+0,
    0x1.fc2757dp+1,
    0x1.f84eafap+1,
    0x1.f09d5f4p+1,
    0x1.e13abe9p+1,
    0x1.c2757d2p+1,
    0x1.84eafa4p+1,
    0x1.09d5f48p+1,
    0x1.3abe8fbp-3,
    0x1.3abe8fbp-2,
    0x1.3abe8fbp-1,
    0x1.3abe8fbp+0,
    0x1.3abe8fbp+1,
    0x1.d5f47d5p-1,
    0x1.d5f47d5p+0,
    0x1.d5f47d5p+1,
    0x1.abe8faap+1,
    0x1.57d1f53p+1,
    0x1.5f47d4dp+0,
    0x1.5f47d4dp+1,
    0x1.7d1f535p+0,
    0x1.7d1f535p+1,
    0x1.f47d4d3p+0,
    0x1.f47d4d3p+1,
    0x1.e8fa9a7p+1,
    0x1.d1f534ep+1,
    0x1.a3ea69cp+1,
    0x1.47d4d37p+1,
    0x1.1f534dep+0,
    0x1.1f534dep+1,
    0x1.f534ddcp-2,
    0x1.f534ddcp-1,
    0x1.f534ddcp+0,
    0x1.f534ddcp+1,
    0x1.ea69bb8p+1,
    0x1.d4d377p+1,
    0x1.a9a6eep+1,
    0x1.534ddc1p+1,
    0x1.4d37703p+0,
    0x1.4d37703p+1,
    0x1.34ddc0ep+0,
};
static const double mt_two_over_pi_lower_[] = {
    -0x1.b1bbead603d8bp-85,
    -0x1.b1bbead603d8bp-84,
    -0x1.b1bbead603d8bp-83,
    -0x1.b1bbead603d8bp-82,
    -0x1.b1bbead603d8bp-81,
    -0x1.b1bbead603d8bp-80,
    -0x1.b1bbead603d8bp-79,
    -0x1.b1bbead603d8bp-78,
    -0x1.b1bbead603d8bp-77,
    -0x1.b1bbead603d8bp-76,
    -0x1.b1bbead603d8bp-75,
    -0x1.b1bbead603d8bp-74,
    -0x1.b1bbead603d8bp-73,
    -0x1.b1bbead603d8bp-72,
    -0x1.b1bbead603d8bp-71,
    -0x1.b1bbead603d8bp-70,
    -0x1.b1bbead603d8bp-69,
    -0x1.b1bbead603d8bp-68,
    -0x1.b1bbead603d8bp-67,
    -0x1.b1bbead603d8bp-66,
    -0x1.b1bbead603d8bp-65,
    -0x1.b1bbead603d8bp-64,
    -0x1.b1bbead603d8bp-63,
    -0x1.b1bbead603d8bp-62,
    -0x1.b1bbead603d8bp-61,
    -0x1.b1bbead603d8bp-60,
    -0x1.b1bbead603d8bp-59,
    -0x1.b1bbead603d8bp-58,
    -0x1.b1bbead603d8bp-57,
    -0x1.b1bbead603d8bp-56,
    -0x1.b1bbead603d8bp-55,
    -0x1.b1bbead603d8bp-54,
    -0x1.b1bbead603d8bp-53,
    -0x1.b1bbead603d8bp-52,
    -0x1.b1bbead603d8bp-51,
    -0x1.b1bbead603d8bp-50,
    -0x1.b1bbead603d8bp-49,
    -0x1.b1bbead603d8bp-48,
    -0x1.b1bbead603d8bp-47,
    -0x1.b1bbead603d8bp-46,
    -0x1.b1bbead603d8bp-45,
    -0x1.b1bbead603d8bp-44,
    -0x1.b1bbead603d8bp-43,
    -0x1.b1bbead603d8bp-42,
    -0x1.b1bbead603d8bp-41,
    -0x1.b1bbead603d8bp-40,
    -0x1.b1bbead603d8bp-39,
    -0x1.b1bbead603d8bp-38,
    -0x1.b1bbead603d8bp-37,
    -0x1.b1bbead603d8bp-36,
    -0x1.b1bbead603d8bp-35,
    -0x1.b1bbead603d8bp-34,
    -0x1.b1bbead603d8bp-33,
    -0x1.b1bbead603d8bp-32,
    -0x1.b1bbead603d8bp-31,
    -0x1.b1bbead603d8bp-30,
    0x1.391054a7f09d6p-31,
    0x1.391054a7f09d6p-30,
    0x1.c882a53f84ebp-32,
    0x1.c882a53f84ebp-31,
    0x1.c882a53f84ebp-30,
    0x1.c882a53f84ebp-29,
    -0x1.bbead603d8a83p-31,
    -0x1.bbead603d8a83p-30,
    -0x1.bbead603d8a83p-29,
    0x1.1054a7f09d5f4p-30,
    0x1.1054a7f09d5f4p-29,
    -0x1.df56b01ec5417p-29,
    0x1.054a7f09d5f48p-31,
    0x1.054a7f09d5f48p-30,
    0x1.054a7f09d5f48p-29,
    -0x1.f56b01ec5417p-29,
    -0x1.5ac07b1505c16p-34,
    -0x1.5ac07b1505c16p-33,
    -0x1.5ac07b1505c16p-32,
    -0x1.5ac07b1505c16p-31,
    -0x1.5ac07b1505c16p-30,
    -0x1.5ac07b1505c16p-29,
    0x1.4a7f09d5f47d5p-29,
    0x1.29fc2757d1f53p-30,
    0x1.29fc2757d1f53p-29,
    -0x1.ac07b1505c159p-29,
    0x1.4fe13abe8fa9ap-30,
    0x1.4fe13abe8fa9ap-29,
    -0x1.603d8a82e0acbp-29,
    0x1.3f84eafa3ea6ap-29,
    0x1.fc2757d1f534ep-31,
    0x1.fc2757d1f534ep-30,
    0x1.fc2757d1f534ep-29,
    -0x1.ec54170565912p-35,
    -0x1.ec54170565912p-34,
    -0x1.ec54170565912p-33,
    -0x1.ec54170565912p-32,
    -0x1.ec54170565912p-31,
    0x1.3abe8fa9a6eep-34,
    0x1.3abe8fa9a6eep-33,
    0x1.3abe8fa9a6eep-32,
    -0x1.8a82e0acb223fp-32,
    -0x1.8a82e0acb223fp-31,
    -0x1.8a82e0acb223fp-30,
    -0x1.8a82e0acb223fp-29,
    0x1.5f47d4d377037p-34,
    0x1.5f47d4d377037p-33,
    0x1.5f47d4d377037p-32,
    0x1.5f47d4d377037p-31,
    0x1.5f47d4d377037p-30,
    0x1.5f47d4d377037p-29,
    0x1.7d1f534ddc0dbp-30,
    0x1.7d1f534ddc0dbp-29,
    0x1.f47d4d377036ep-30,
    0x1.f47d4d377036ep-29,
    -0x1.70565911f924fp-33,
    -0x1.70565911f924fp-32,
    -0x1.70565911f924fp-31,
    -0x1.70565911f924fp-30,
    -0x1.70565911f924fp-29,
    0x1.f534ddc0db629p-33,
    0x1.f534ddc0db629p-32,
    0x1.f534ddc0db629p-31,
    0x1.f534ddc0db629p-30,
    0x1.f534ddc0db629p-29,
    -0x1.596447e493ad5p-33,
    -0x1.596447e493ad5p-32,
    -0x1.596447e493ad5p-31,
    -0x1.596447e493ad5p-30,
    -0x1.96447e493ad4dp-33,
    -0x1.96447e493ad4dp-32,
    -0x1.96447e493ad4dp-31,
    -0x1.96447e493ad4dp-30,
    -0x1.96447e493ad4dp-29,
    -0x1.6447e493ad4cep-32,
    -0x1.6447e493ad4cep-31,
    -0x1.6447e493ad4cep-30,
    -0x1.6447e493ad4cep-29,
    0x1.377036d8a5665p-29,
    0x1.bb81b6c52b328p-31,
    0x1.bb81b6c52b328p-30,
    -0x1.11f924eb53362p-31,
    -0x1.11f924eb53362p-30,
    0x1.dc0db6295993cp-30,
    0x1.dc0db6295993cp-29,
    -0x1.1f924eb53361ep-31,
    -0x1.1f924eb53361ep-30,
    -0x1.1f924eb53361ep-29,
    0x1.c0db6295993c4p-29,
    -0x1.f924eb53361dep-31,
    -0x1.f924eb53361dep-30,
    0x1.b6c52b3278872p-35,
    0x1.b6c52b3278872p-34,
    0x1.b6c52b3278872p-33,
    0x1.b6c52b3278872p-32,
    0x1.b6c52b3278872p-31,
    0x1.b6c52b3278872p-30,
    0x1.b6c52b3278872p-29,
    -0x1.24eb53361de38p-30,
    0x1.b6295993c439p-30,
    0x1.b6295993c439p-29,
    -0x1.275a99b0ef1bfp-30,
};

#endif
